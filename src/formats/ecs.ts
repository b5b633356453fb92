import type { EventType, Severity } from '../audit/catalog.js';
import type { AuditEvent, EventResource, EventUser, SourceName } from '../audit/event.js';
import { safeJson, toSafeJson } from '../audit/unsafe-characters.js';
import { IsoTime } from './iso-time.js';

/** Version of the Elastic Common Schema that the field names and values follow. */
export const ECS_VERSION = '8.17.0';

/** `log.level` has no list of allowed values. These are the words of the daemon's own log, where it has the level. */
const LOG_LEVELS: Readonly<Record<Severity, string>> = {
  alert: 'alert',
  critical: 'critical',
  error: 'error',
  warning: 'warn',
  notice: 'notice',
  info: 'info',
};

/** Characters that need no escape in a JSON string. One test replaces JSON.stringify and a search for rare characters. */
const PLAIN = /^[ !#-[\]-~]*$/;

/**
 * An event as one line of JSON in Elastic Common Schema, without its newline.
 *
 * The key order is fixed. Everything up to and including `source.ip` is written by this daemon alone (times, catalog names,
 * numbers, hexadecimal digits, a parsed address). Texts that a client can influence come after it, in JSON strings
 * without any control, separator or direction character. Without an address there is no `source`.
 *
 * ECS requires `@timestamp`. For an event without a readable time it is the time of reading, in whole seconds. fail2ban's
 * filter requires milliseconds, so it never takes such a line for a fresh failure. The row's text is `postern.time_unreadable`.
 */
export function formatEcs(event: AuditEvent): string {
  const { type, time, ingested } = event;
  const ip = event.address;
  const head = staticPrefix(type);
  const own = time === null ? readTime.seconds(ingested) : ownTime.milliseconds(time);
  const server = serverOf(event.server);
  return (
    `{"@timestamp":"${own}"${head.event}${event.sequence},"id":"${event.id}","ingested":"` +
    `${readTime.milliseconds(ingested)}"}${ip === null ? '' : `,"source":{"ip":"${ip}"}`}${head.message}` +
    `${userMembers(event.user, head.preposition, ip)}${server.members},"postern":{"source":"${event.source}","timeline":` +
    `${event.timeline}${event.revisionOf === null ? '' : `,"revision_of":${event.revisionOf}`}${event.incomplete ? `,"incomplete":${quote(event.incomplete)}` : ''},"server":${server.quoted},"action":${quote(event.rawAction)}${resourceOf(event.resource)}` +
    `${event.rawAddress === null ? '' : `,"address":${quote(event.rawAddress)}`}` +
    `${time === null ? `,"time_unreadable":${quote(event.rawTime ?? '')}` : ''}${detailsOf(event.details)}}}`
  );
}

/** A JSON string without unsafe characters. */
export function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : toSafeJson(text);
}

export interface StaticPrefix {
  /** The part between the time and the sequence. */
  readonly event: string;
  /** The beginning of the message, without a closing quote. */
  readonly message: string;
  readonly preposition: string;
}

const heads = new WeakMap<EventType, StaticPrefix>();

/** The parts that depend on the type alone. */
export function staticPrefix(type: EventType): StaticPrefix {
  const known = heads.get(type);
  if (known !== undefined) return known;
  const { category, type: kind } = type.ecs;
  const made = {
    event:
      `,"log.level":"${LOG_LEVELS[type.severity]}","event":{"action":${quote(type.action)},"outcome":"${type.outcome}",` +
      `"kind":"event","category":${JSON.stringify(category)},"type":${JSON.stringify(kind)},"sequence":`,
    message: `,"message":${quote(type.title).slice(0, -1)}`,
    preposition: type.category === 'auth' ? ' for ' : ' by ',
  };
  heads.set(type, made);
  return made;
}

/** Ends the message (`Login failed for jan`), then `user` and `related`. */
export function userMembers({ id, name, email }: EventUser, preposition: string, ip: string | null): string {
  const address = ip === null ? '' : `"ip":["${ip}"]`;
  if (id === null && name === null && email === null) {
    return address === '' ? '"' : `","related":{${address}}`;
  }
  const quotedName = name === null ? '' : quote(name);
  const quotedEmail = email === null ? '' : quote(email);
  const who = quotedName || quotedEmail;
  const members =
    (id === null ? '' : `,"id":${quote(id)}`) +
    (name === null ? '' : `,"name":${quotedName}`) +
    (email === null ? '' : `,"email":${quotedEmail}`);
  const related = name === null ? address : `${address}${address === '' ? '' : ','}"user":[${quotedName}]`;
  return (
    `${who === '' ? '"' : `${preposition}${who.slice(1)}`},"user":{${members.slice(1)}}` +
    `${related === '' ? '' : `,"related":{${related}}`}`
  );
}

export interface Server {
  readonly name: string;
  readonly quoted: string;
  /** The members between `related` and `postern`. */
  readonly members: string;
}

/** Neighbouring events have the same server. */
let lastServer: Server = madeOf('');

export function serverOf(name: string): Server {
  if (name !== lastServer.name) lastServer = madeOf(name);
  return lastServer;
}

function madeOf(name: string): Server {
  const quoted = quote(name);
  const members =
    `,"host":{"name":${quoted}},"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},` +
    `"ecs":{"version":"${ECS_VERSION}"}`;
  return { name, quoted, members };
}

export function resourceOf({ type, id }: EventResource): string {
  if (type === null) return id === null ? '' : `,"resource":{"id":${quote(id)}}`;
  return `,"resource":{"type":${quote(type)}${id === null ? '' : `,"id":${quote(id)}`}}`;
}

/** The details are already the JSON text of an object (audit/redaction.ts). */
function detailsOf(details: string | null): string {
  return details === null ? '' : `,"details":${safeJson(details)}`;
}

const ownTime = new IsoTime();
const readTime = new IsoTime();

export interface EcsPosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
}

const HEAD =
  /^\{"@timestamp":"[^"]{20,30}","log\.level":"[a-z]+","event":\{"action":"[^"\\]+","outcome":"[a-z]+","kind":"event","category":\[[^\]]*\],"type":\[[^\]]*\],"sequence":(\d{1,16}),"id":"([0-9a-f]{32})",/;
/** In a client's text the quotes of this are escaped, and `details` come after it. */
const PLACE =
  /"ecs":\{"version":"[0-9.]+"\},"postern":\{"source":"(postern|auditd|fleet)","timeline":(\d{1,9}),/;

/** The row of a line, parsed from the line itself; null if the line is torn, foreign, or a header. */
export function parseEcsPosition(line: string): EcsPosition | null {
  const head = HEAD.exec(line);
  const place = head === null ? null : PLACE.exec(line);
  if (head === null || place === null || !line.endsWith('}}') || !isJson(line)) return null;
  return {
    source: place[1] as SourceName,
    timeline: Number(place[2]),
    sequence: Number(head[1]),
    id: head[2] ?? '',
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
