/**
 * The message of an event from a server to its fleet: its body in the stream, and its subject.
 *
 * The body is JSON with the columns of the row as they are in the table, secrets masked, so that the hub can write the same row. A
 * column is a JSON string, null, or a number: an integer if it has no fraction. A value that JSON can't express so is an object of one
 * member: `{"i":"9223372036854775807"}`, `{"r":"5"}` for a REAL without a fraction, `{"b":"…"}` for a BLOB in base64.
 *
 * A version of an edited row has `revision_of`, the id of that row at its server, and `revised_action`, the row's current action. A
 * hub of an earlier release ignores both.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AuditEvent, ColumnValue, SourceName } from '../audit/event.js';
import { parseTime } from '../audit/time.js';

export const SUBJECT_PREFIX = 'postern.audit';
/** Columns of a body: created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server. */
const COLUMNS = 10;
const DETAILS = 7;
const LONGEST_TOKEN = 120;

/** The contents of a message. */
export interface FleetEvent {
  readonly id: string;
  /** The server that published it, as its configuration names it. */
  readonly origin: string;
  readonly source: SourceName;
  readonly timeline: number;
  /** Row id at the origin. */
  readonly sequence: number;
  /** Row id of the event published before this one, in the same source and timeline; 0: none, or unknown. */
  readonly after: number;
  /** The server of the row; the origin if the row names none. */
  readonly server: string;
  readonly columns: readonly ColumnValue[];
  /** For a later version of an edited row: the id of that row at its server, and its current action. Null for other events. */
  readonly revision: FleetRevision | null;
}

interface FleetRevision {
  readonly of: number;
  readonly action: string | null;
}

/** The action under which a version of an edited row is published, whatever it has become. So it never counts as another event. */
const REVISION_SUBJECT = ['daemon', 'row_edited'] as const;

/**
 * A name as one token of a subject, and as a key of a key-value bucket. Other characters than letters, digits, `-` and `_` become `=` and two hex
 * digits for each byte, so that two names never share a token. Very long names end in a hash.
 */
export function subjectToken(name: string): string {
  if (name === '') return '=';
  const token = name.replace(/[^A-Za-z0-9_-]/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
  if (token.length <= LONGEST_TOKEN) return token;
  return `${token.slice(0, LONGEST_TOKEN - 20)}=-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}

/**
 * `postern.audit.<server>.<category>.<action>`. A version of an edited row is always `daemon.row_edited`. So a subscriber of the failed logins of
 * others receives each once, whatever becomes of its row later.
 */
export function subjectOf(
  serverToken: string,
  event: Pick<AuditEvent, 'type' | 'action' | 'revisionOf'>,
): string {
  if (event.revisionOf !== null) return [SUBJECT_PREFIX, serverToken, ...REVISION_SUBJECT].join('.');
  const { category } = event.type;
  const word = event.action.startsWith(`${category}.`)
    ? event.action.slice(category.length + 1)
    : event.action;
  return `${SUBJECT_PREFIX}.${serverToken}.${subjectToken(category)}.${subjectToken(word)}`;
}

/** The server's token in a subject; null for another subject. */
export function serverTokenOf(subject: string): string | null {
  return /^postern\.audit\.([^.]+)\.[^.]+\.[^.]+$/.exec(subject)?.[1] ?? null;
}

/**
 * The body of an event, at most `maxBytes` in UTF-8. If it does not fit, it is cut: `details` to a text under `text`, with the bytes that it
 * had under `cut_bytes`, any other column to its beginning.
 *
 * @returns the body, and whether it was cut
 */
export function formatFleet(
  event: AuditEvent,
  origin: string,
  after: number,
  maxBytes: number,
): { body: string; cut: boolean } {
  const columns = (event.redactedColumns ?? columnsOf(event)).with(COLUMNS - 1, event.server);
  // Only this server knows the zone of a time without one.
  if (event.time !== null && event.time !== timeOf(columns[0]))
    columns[0] = new Date(event.time).toISOString();
  const head = {
    v: 1,
    id: event.id,
    origin,
    source: event.source,
    timeline: event.timeline,
    sequence: event.sequence,
    after,
  };
  const body = JSON.stringify({ ...head, ...revisionIn(event), columns: columns.map(jsonOf) });
  if (Buffer.byteLength(body) <= maxBytes) return { body, cut: false };
  for (let most = maxBytes; ; most = Math.floor(most / 2)) {
    const fitting = columns.map((value, at) => cutTo(value, most, at === DETAILS));
    const shorter = JSON.stringify({ ...head, ...revisionIn(event, most), columns: fitting.map(jsonOf) });
    if (Buffer.byteLength(shorter) <= maxBytes || most === 0) return { body: shorter, cut: true };
  }
}

function revisionIn({ revisionOf, rawAction }: AuditEvent, most = rawAction.length) {
  return revisionOf === null
    ? {}
    : { revision_of: revisionOf, revised_action: cutTo(rawAction, most, false) };
}

/** The body of an event that could not be formatted: its identity, and none of the row's texts. */
export function lastFleet(
  { id, source, timeline, sequence, revisionOf }: AuditEvent,
  origin: string,
  after: number,
): string {
  const revision = revisionOf === null ? {} : { revision_of: revisionOf };
  const columns = Array.from({ length: COLUMNS }, (_, at) =>
    at === DETAILS ? '{"unformatted":true}' : null,
  );
  return JSON.stringify({ v: 1, id, origin, source, timeline, sequence, after, ...revision, columns });
}

/** The subject of `lastFleet`'s body. */
export function lastSubject(serverToken: string): string {
  return `${SUBJECT_PREFIX}.${serverToken}.unknown.unformatted`;
}

/** The time of a row, as the hub parses it. */
function timeOf(created: ColumnValue | undefined): number | null {
  return parseTime(Buffer.isBuffer(created) ? created.toString() : created);
}

function cutTo(value: ColumnValue, most: number, isDetails: boolean): ColumnValue {
  if (Buffer.isBuffer(value)) return value.length > most ? value.subarray(0, most) : value;
  if (typeof value !== 'string' || value.length <= most) return value;
  const text = value.slice(0, most).replace(/[\ud800-\udbff]$/, '');
  return isDetails ? JSON.stringify({ text, cut_bytes: Buffer.byteLength(value) }) : text;
}

/** The columns of an event that is not from a table. */
function columnsOf(event: AuditEvent): ColumnValue[] {
  const { time, rawTime, user, rawAction, resource, details, address, rawAddress, server } = event;
  const created = time === null ? rawTime : new Date(time).toISOString();
  const { id, name, email } = user;
  return [
    created,
    id,
    name,
    email,
    rawAction,
    resource.type,
    resource.id,
    details,
    rawAddress ?? address,
    server,
  ];
}

type Json = null | string | number | { i: string } | { r: string } | { b: string };

function jsonOf(value: ColumnValue): Json {
  if (value === null || typeof value === 'string') return value;
  if (Buffer.isBuffer(value)) return { b: value.toString('base64') };
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Number.isInteger(value)) return value;
    return { r: Object.is(value, -0) ? '-0' : String(value) };
  }
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : { i: String(value) };
}

const INTEGER = /^-?\d{1,19}$/;
const column = z.union([
  z.null(),
  z.string(),
  z.number(),
  z.strictObject({ i: z.string().regex(INTEGER) }),
  z.strictObject({ r: z.string().max(40) }),
  z.strictObject({ b: z.base64() }),
]);
const schema = z.object({
  v: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  origin: z.string().min(1).max(1_000),
  source: z.enum(['postern', 'auditd']),
  timeline: z.int().min(1),
  sequence: z.int().min(0),
  after: z.int().min(0),
  revision_of: z.int().min(0).nullish(),
  revised_action: z.string().nullish(),
  columns: z.array(column).length(COLUMNS),
});

/**
 * Reads a message.
 *
 * @param subject permissions protect the origin's name in it, so the body must agree
 * @returns the event, or why the message is invalid
 */
export function parseFleet(subject: string, body: string): FleetEvent | string {
  const token = serverTokenOf(subject);
  if (token === null) return 'its subject is not that of an event';
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return 'its body is not JSON';
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) return 'its body is not of this version';
  const { id, origin, source, timeline, sequence, after } = parsed.data;
  if (subjectToken(origin) !== token) return 'it names another server than its subject does';
  const columns = parsed.data.columns.map(valueFrom);
  const server = columns[COLUMNS - 1];
  const { revision_of: of = null, revised_action: action = null } = parsed.data;
  // Only the daemon's own table has versions. A row of Postern's table is never one.
  const revision = source === 'auditd' && of !== null ? { of, action } : null;
  const named = typeof server === 'string' && server !== '' ? server : origin;
  return {
    id,
    origin,
    source,
    timeline,
    sequence,
    after,
    server: named,
    columns: columns.with(COLUMNS - 1, named),
    revision,
  };
}

function valueFrom(value: z.infer<typeof column>): ColumnValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value; // larger integers arrive as `i`; SQLite rejects more than 64 bits
  if ('i' in value) return BigInt.asIntN(64, BigInt(value.i));
  return 'r' in value ? Number(value.r) : Buffer.from(value.b, 'base64');
}
