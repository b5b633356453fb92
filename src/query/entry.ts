import { type AuditEvent, publicId } from '../audit/event.js';
import { safeJson, toSafeJson } from '../audit/unsafe-characters.js';
import { formatted } from '../formats/format-fallback.js';
import { IsoTime } from '../formats/iso-time.js';

/** An entry of an answer. Secrets in `details` are masked. */
export interface Entry {
  /** `postern:4711`. */
  readonly id: string;
  /** ISO 8601, UTC; the text in the row if it is not a time; null if the row has none. */
  readonly created_at: string | null;
  readonly user: { readonly id: string | null; readonly name: string | null; readonly email: string | null };
  /** Canonical name. */
  readonly action: string;
  readonly resource_type: string | null;
  readonly resource_id: string | null;
  /** A JSON object. */
  readonly details: unknown;
  readonly ip_address: string | null;
  readonly server: string;
  readonly outcome: string;
  /** The versions of an edited row, the current one included, in the order in which they were read; omitted for other rows. */
  readonly versions?: readonly Entry[];
}

const created = new IsoTime();

/** ISO 8601 with milliseconds, UTC. */
export function isoTime(time: number): string {
  return created.milliseconds(time);
}

function createdAt(event: AuditEvent): string | null {
  return event.time === null ? event.rawTime : isoTime(event.time);
}

/**
 * The entry of an event. An event that can't be formatted, a defect of ours, does not fail the whole answer: its entry has the values that
 * the daemon knows itself, `{"unformatted":true}` as details, and none of the row's texts. That is true of all forms below.
 */
export function entryOf(event: AuditEvent): Entry {
  return safely(event, wholeEntry, lastEntry);
}

/** The result of `form` for the event, or for its minimal form, or else of `last`. Not logged: the answer shows it, and the sinks have logged it. */
export function safely<T>(
  event: AuditEvent,
  form: (event: AuditEvent) => T,
  last: (event: AuditEvent) => T,
): T {
  return formatted(event, form, last, () => undefined);
}

function wholeEntry(event: AuditEvent): Entry {
  return entryWith(event, event.details === null ? null : JSON.parse(event.details));
}

/** The entry of an event of which only the id is usable. */
export function lastEntry(event: AuditEvent): Entry {
  const nobody = { id: null, name: null, email: null };
  return {
    id: publicId(event),
    created_at: null,
    user: nobody,
    action: 'unknown.unformatted',
    resource_type: null,
    resource_id: null,
    details: { unformatted: true },
    ip_address: null,
    server: '',
    outcome: 'unknown',
  };
}

function entryWith(event: AuditEvent, details: unknown): Entry {
  return {
    id: publicId(event),
    created_at: createdAt(event),
    user: { id: event.user.id, name: event.user.name, email: event.user.email },
    action: event.action,
    resource_type: event.resource.type,
    resource_id: event.resource.id,
    details,
    ip_address: event.address ?? event.rawAddress,
    server: event.server,
    outcome: event.type.outcome,
  };
}

/** Length to which a brief entry cuts names. */
const LONGEST_NAME = 1_000;

/**
 * The entry for a caller that shows only its beginning: details of more than `longest` characters become text, cut to that length, and
 * names are cut to 1,000. So megabytes stay in the thread that read them.
 */
export function briefEntryOf(event: AuditEvent, longest: number): Entry {
  return safely(event, (whole) => briefEntry(whole, longest), lastEntry);
}

function briefEntry(event: AuditEvent, longest: number): Entry {
  const { details } = event;
  const long = details !== null && details.length > longest;
  const entry = long ? entryWith(event, details.slice(0, longest)) : wholeEntry(event);
  const { user, created_at, action, resource_type, resource_id, ip_address, server } = entry;
  return {
    ...entry,
    user: { id: cut(user.id), name: cut(user.name), email: cut(user.email) },
    created_at: cut(created_at),
    action: action.slice(0, LONGEST_NAME),
    resource_type: cut(resource_type),
    resource_id: cut(resource_id),
    ip_address: cut(ip_address),
    server: server.slice(0, LONGEST_NAME),
  };
}

function cut(text: string | null): string | null {
  return text === null || text.length <= LONGEST_NAME ? text : text.slice(0, LONGEST_NAME);
}

/** The entry as one line of JSON, its newline included. */
export function entryLine(event: AuditEvent, versions: readonly AuditEvent[] = []): string {
  return `${entryObject(event, versions)}\n`;
}

/** The entry as JSON. */
export function entryObject(event: AuditEvent, versions: readonly AuditEvent[] = []): string {
  const text = safely(event, wholeObject, lastObject);
  if (versions.length === 0) return text;
  return `${text.slice(0, -1)},"versions":[${versions.map((version) => entryObject(version)).join(',')}]}`;
}

function lastObject(event: AuditEvent): string {
  return toSafeJson(lastEntry(event));
}

/** Text of our own (times, addresses, names of the catalog) needs no check. */
function wholeObject(event: AuditEvent): string {
  const { user, resource, type } = event;
  const created = event.time === null ? json(event.rawTime) : `"${isoTime(event.time)}"`;
  const address = event.address === null ? json(event.rawAddress) : `"${event.address}"`;
  return `{"id":"${event.source}:${event.sequence}","created_at":${created},"user":{"id":${json(user.id)},"name":${json(user.name)},"email":${json(user.email)}},"action":"${type.action}","resource_type":${json(resource.type)},"resource_id":${json(resource.id)},"details":${event.details === null ? 'null' : safeJson(event.details)},"ip_address":${address},"server":${json(event.server)},"outcome":"${type.outcome}"}`;
}

const PLAIN = /^[\w .:@/+-]*$/;

function json(text: string | null): string {
  if (text === null) return 'null';
  return PLAIN.test(text) ? `"${text}"` : toSafeJson(text);
}
