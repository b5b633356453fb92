import type { EventType, Severity } from '../audit/catalog.js';
import type { AuditEvent, EventResource } from '../audit/event.js';
import { safeJson, toSafeJson } from '../audit/unsafe-characters.js';
import { IsoTime } from './iso-time.js';
import { product } from './observer.js';
import { type NamedUser, targetUser } from './target-user.js';

/** Version of the Elastic Common Schema that the field names and values follow. */
export const ECS_VERSION = '9.4.0';

/** The last members of `event`, after the quote of `event.created`. The names are those of an integration of Elastic. */
export const EVENT_END = '","dataset":"postern.audit","module":"postern"}';

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

export interface EcsOptions {
  /** Sets `postern.truncated`. */
  readonly truncated?: boolean;
  /** `observer.version`; default: the installed one. */
  readonly version?: string;
}

/**
 * An event as one line of JSON in Elastic Common Schema, without its newline.
 *
 * The key order is fixed. Everything up to and including `postern.timeline` is written by this daemon alone (times, catalog names,
 * numbers, hexadecimal digits, a parsed address), so that recovery (ecs-position.ts) and fail2ban's filter read nothing that a client
 * has chosen. Texts that a client can influence come after it, in JSON strings without any control, separator or direction character.
 * `source` has `ip` in the head; without a parsed address it has `address`, the text of the row, at the end.
 *
 * ECS requires `@timestamp`. For an event without a readable time it is the time of reading, in whole seconds. fail2ban's
 * filter requires milliseconds, so it never takes such a line for a fresh failure. `postern.time_unknown` marks the event, and the
 * row's text is `postern.time`.
 */
export function formatEcs(event: AuditEvent, { truncated = false, version }: EcsOptions = {}): string {
  const { time, ingested, address: ip } = event;
  const head = staticPrefix(event.type);
  const own = time === null ? readTime.seconds(ingested) : ownTime.milliseconds(time);
  const server = serverOf(event.server, version);
  return (
    `{"@timestamp":"${own}"${head.event}${event.sequence},"id":"${event.id}","created":"` +
    `${readTime.milliseconds(ingested)}${EVENT_END}${ip === null ? '' : `,"source":{"ip":"${ip}"}`}` +
    `,"postern":{"source":"${event.source}","timeline":${event.timeline}${flagsOf(event)},"server":${server.quoted}` +
    `,"action":${quote(event.rawAction)}${resourceOf(event.resource)}` +
    `${event.rawAddress === null ? '' : `,"address":${quote(event.rawAddress)}`}` +
    `${time === null ? timeUnknown(event.rawTime) : ''}${detailsOf(event.details)}${truncated ? ',"truncated":true' : ''}` +
    `}${head.message}${userMembers(event, head.preposition, server)}${server.members}`
  );
}

function flagsOf({ revisionOf, incomplete }: AuditEvent): string {
  const revision = revisionOf === null ? '' : `,"revision_of":${revisionOf}`;
  return incomplete ? `${revision},"incomplete":${quote(incomplete)}` : revision;
}

function timeUnknown(rawTime: string | null): string {
  return `${rawTime === null ? '' : `,"time":${quote(rawTime)}`},"time_unknown":true`;
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
  const { kind = 'event', category, type: words } = type.ecs;
  const made = {
    event:
      `,"log.level":"${LOG_LEVELS[type.severity]}","event":{"action":${quote(type.action)},"outcome":"${type.outcome}",` +
      `"kind":"${kind}",${category.length === 0 ? '' : `"category":${JSON.stringify(category)},`}` +
      `"type":${JSON.stringify(words)},"sequence":`,
    message: `,"message":${quote(type.title).slice(0, -1)}`,
    preposition: type.category === 'auth' ? ' for ' : ' by ',
  };
  heads.set(type, made);
  return made;
}

/** Ends the message (`Login failed for jan`), then `user`, `source.address` and `related`. */
export function userMembers(event: AuditEvent, preposition: string, server: Server): string {
  const { id, name, email } = event.user;
  const { address: ip, rawAddress } = event;
  const about = targetUser(event);
  const quotedName = name === null ? '' : quote(name);
  const quotedEmail = email === null ? '' : quote(email);
  const who = quotedName || quotedEmail;
  const members =
    (id === null ? '' : `,"id":${quote(id)}`) +
    (name === null ? '' : `,"name":${quotedName}`) +
    (email === null ? '' : `,"email":${quotedEmail}`) +
    (about === null ? '' : namedUser('target', about.target) + namedUser('changes', about.changes));
  const names =
    about === null ? quotedName : [...namesIn(name, about.target, about.changes)].map(quote).join(',');
  return (
    `${who === '' ? '"' : `${preposition}${who.slice(1)}`}${members === '' ? '' : `,"user":{${members.slice(1)}}`}` +
    `${ip === null && rawAddress !== null ? `,"source":{"address":${quote(rawAddress)}}` : ''}` +
    `${server.related}${ip === null ? '' : `,"ip":["${ip}"]`}${names === '' ? '' : `,"user":[${names}]`}}`
  );
}

function namedUser(role: 'target' | 'changes', user: NamedUser): string {
  const members = Object.entries(user).map(([key, value]) => `"${key}":${quote(value)}`);
  return members.length === 0 ? '' : `,"${role}":{${members.join(',')}}`;
}

function namesIn(actor: string | null, ...others: readonly NamedUser[]): Set<string> {
  const names = new Set<string>(actor === null ? [] : [actor]);
  for (const { name, email } of others) {
    const one = name ?? email;
    if (one !== undefined) names.add(one);
  }
  return names;
}

export interface Server {
  readonly name: string;
  readonly version: string;
  readonly quoted: string;
  /** The beginning of `related`, with its first member. */
  readonly related: string;
  /** The members after `related`, and the end of the line. */
  readonly members: string;
}

/** Neighbouring events have the same server. */
let lastServer: Server = madeOf('', product.version);

export function serverOf(name: string, version: string = product.version): Server {
  if (name !== lastServer.name || version !== lastServer.version) lastServer = madeOf(name, version);
  return lastServer;
}

function madeOf(name: string, version: string): Server {
  const quoted = quote(name);
  const related = `,"related":{"hosts":[${quoted}]`;
  const members =
    `,"host":{"name":${quoted}},"observer":{"vendor":"${product.vendor}","product":"${product.name}","type":"audit",` +
    `"version":${quote(version)}},"ecs":{"version":"${ECS_VERSION}"}}`;
  return { name, version, quoted, related, members };
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
