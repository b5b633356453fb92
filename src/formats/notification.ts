import { isAtLeast, type Severity } from '../audit/catalog.js';
import { type AuditEvent, publicId } from '../audit/event.js';
import { printable } from './escape-unprintable.js';
import { formatPlainText } from './plain-text.js';
import { cutUtf8 } from './utf8.js';

/** Events that one message names; it counts the others. */
const NAMED = 10;
/** Bytes of a sentence about an event. */
const LONGEST_LINE = 400;
const LONGEST_TITLE = 200;

/** A message for people about some events. All texts are printable and short; what users wrote is in them, so a receiver's syntax is still to be escaped. */
export interface Notification {
  readonly title: string;
  /** One sentence per event, the newest last; then how many are not named, and how many were too old. */
  readonly lines: readonly string[];
  /** The highest of all events. */
  readonly severity: Severity;
  /** The server of the last event. */
  readonly server: string;
  /** Of events, the named ones included. */
  readonly count: number;
  /** Of events that were too old to be sent. */
  readonly older: number;
  /** The named events. */
  readonly events: readonly NotifiedEvent[];
}

/** An event, for programs. */
interface NotifiedEvent {
  /** `<source>:<row id>` */
  readonly id: string;
  readonly time: string | null;
  readonly action: string;
  readonly severity: Severity;
  readonly server: string;
  readonly user: string | null;
  readonly source_ip: string | null;
  readonly text: string;
}

/**
 * @param events at least one
 * @param older how many others were too old to be sent since the last message
 */
export function notificationOf(events: readonly AuditEvent[], older: number): Notification {
  const last = events.at(-1);
  if (last === undefined) throw new Error('a message needs an event');
  const named = events.slice(-NAMED).map(notified);
  const more = events.length - named.length;
  const server = short(last.server);
  const what = events.length === 1 ? last.type.title : `${events.length} events`;
  return {
    title: `${what} on ${server}`,
    lines: [
      ...named.map(({ text }) => text),
      ...(more > 0 ? [`+${more} more`] : []),
      ...(older > 0 ? [`${older} older ${older === 1 ? 'event was' : 'events were'} not sent`] : []),
    ],
    severity: worst(events),
    server,
    count: events.length,
    older,
    events: named,
  };
}

function worst(events: readonly AuditEvent[]): Severity {
  return events
    .map(({ type }) => type.severity)
    .reduce((one, other) => (isAtLeast(one, other) ? one : other));
}

function notified(event: AuditEvent): NotifiedEvent {
  const { time, action, type, user, address, server } = event;
  const name = user.name ?? user.email ?? user.id;
  return {
    id: publicId(event),
    time: time === null ? null : new Date(time).toISOString(),
    action: short(action),
    severity: type.severity,
    server: short(server),
    user: name === null ? null : short(name),
    source_ip: address,
    text: cut(formatPlainText(event), LONGEST_LINE),
  };
}

function short(text: string): string {
  return cut(printable(text), LONGEST_TITLE);
}

function cut(text: string, bytes: number): string {
  return Buffer.byteLength(text) <= bytes ? text : `${cutUtf8(text, bytes - 3)}…`;
}
