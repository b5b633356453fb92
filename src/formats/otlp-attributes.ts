/**
 * An event as a log record of OpenTelemetry: names and values, for both encodings of OTLP. Names are those of the semantic conventions where
 * there is one (client.address, user.*, log.record.uid), else those of ECS, else under `postern`.
 */
import type { EventType, Severity } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import { printable, printableJson } from './escape-unprintable.js';
import { targetUser } from './target-user.js';

/** SeverityNumber of the log data model: FATAL would be a program that ends. */
export const SEVERITY_NUMBERS: Readonly<Record<Severity, number>> = {
  alert: 19,
  critical: 18,
  error: 17,
  warning: 13,
  notice: 10,
  info: 9,
};

/** Characters that need neither an escape nor a picture. */
const PLAIN = /^[ -~]*$/;

/** Takes the attributes of a record, one after the other. */
export interface AttributeWriter {
  text(key: string, value: string): void;
  number(key: string, value: number): void;
  list(key: string, values: readonly string[]): void;
}

/** In the year 2262: nanoseconds beyond it are negative for programs that keep 64 bits with a sign. */
const LATEST = 2 ** 63 / 1e6;

/** The event's time, if the protocol can express it. */
export function recordTime({ time }: AuditEvent): number | null {
  return time !== null && time >= 0 && time < LATEST ? time : null;
}

/** The text without control, separator and direction characters, which some stores reject. */
function attributeText(text: string): string {
  return PLAIN.test(text) ? text : printable(text);
}

/** For people: what happened, and by or for whom. */
export function recordBody({ type, user }: AuditEvent): string {
  const who = user.name ?? user.email;
  if (who === null) return attributeText(type.title);
  return attributeText(`${type.title}${type.category === 'auth' ? ' for ' : ' by '}${who}`);
}

export function eventName(type: EventType): string {
  return `postern.${attributeText(type.action)}`;
}

/** The attributes that depend on the type alone. */
export function writeTypeAttributes({ action, outcome, ecs }: EventType, to: AttributeWriter): void {
  to.text('event.action', attributeText(action));
  to.text('event.outcome', outcome);
  if (ecs.category.length > 0) to.list('event.category', ecs.category);
  if (ecs.type.length > 0) to.list('event.type', ecs.type);
}

/** All other attributes. @param isTruncated whether a part of the event is missing because of its size */
export function writeAttributes(event: AuditEvent, isTruncated: boolean, to: AttributeWriter): void {
  const { address, user, resource, details } = event;
  const optional = (key: string, text: string | null) => {
    if (text !== null) to.text(key, attributeText(text));
  };
  to.number('event.sequence', event.sequence);
  to.text('log.record.uid', event.id);
  if (address !== null) {
    to.text('client.address', address);
    to.text('source.ip', address);
  }
  optional('user.id', user.id);
  optional('user.name', user.name);
  optional('user.email', user.email);
  const about = targetUser(event);
  if (about !== null) {
    for (const [name, text] of Object.entries(about.target)) optional(`user.target.${name}`, text);
    for (const [name, text] of Object.entries(about.changes)) optional(`user.changes.${name}`, text);
  }
  to.text('postern.source', event.source);
  to.number('postern.timeline', event.timeline);
  to.text('postern.action', attributeText(event.rawAction));
  optional('postern.resource.type', resource.type);
  optional('postern.resource.id', resource.id);
  optional('postern.address', event.rawAddress);
  if (event.time === null) {
    optional('postern.time', event.rawTime);
    to.text('postern.time_unknown', 'true');
  } else if (recordTime(event) === null) to.text('postern.time', new Date(event.time).toISOString());
  if (event.revisionOf !== null) to.number('postern.revision_of', event.revisionOf);
  if (event.incomplete) to.text('postern.incomplete', attributeText(event.incomplete));
  if (details !== null) to.text(DETAILS_KEY, printableJson(details));
  if (isTruncated) to.text(TRUNCATED_KEY, 'true');
}

/** The details as one JSON text: as attributes of their own they would make a field of each name that a client chooses. */
export const DETAILS_KEY = 'postern.details';
export const TRUNCATED_KEY = 'postern.truncated';

/** A resource is the host of the event's server. */
export const SERVICE_NAME = 'postern';
