import type { AuditEvent } from '../audit/event.js';
import { safeJson, toSafeJson, visibleInCsv } from '../audit/unsafe-characters.js';
import { COLUMN_KEYS } from '../source/table-schema.js';
import { type Entry, isoTime, lastEntry, safely } from './entry.js';

export const CSV_COLUMNS = [...COLUMN_KEYS, 'outcome'] as const;

/** RFC 4180 section 2: lines end in CRLF, the first one names the columns. */
export const CSV_HEADER = `${CSV_COLUMNS.join(',')}\r\n`;

/** Characters with which a formula begins in a spreadsheet (OWASP, CSV Injection), full-width forms included. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
/** Most fields: nothing to quote, and not a formula. */
const PLAIN = /^\w[\w .:@/+-]*$/;
const QUOTED = /[",\r\n\t;]/;

/** The entry as a line of CSV, its CRLF included. */
export function csvLine(event: AuditEvent): string {
  return safely(event, wholeLine, (last) => csvEntry(lastEntry(last)));
}

/** Text of our own (times, addresses, names of the catalog) is safe as it is. */
function wholeLine(event: AuditEvent): string {
  const { user, resource, type } = event;
  const created = event.time === null ? field(event.rawTime) : isoTime(event.time);
  return (
    `${event.source}:${event.sequence},${created},${field(user.id)},${field(user.name)},${field(user.email)},` +
    `${type.action},${field(resource.type)},${field(resource.id)},${objectField(event.details === null ? null : safeJson(event.details))},` +
    `${event.address ?? field(event.rawAddress)},${field(event.server)},${type.outcome}\r\n`
  );
}

/** JSON of an object is never a formula, and nearly always has quotes. */
function objectField(json: string | null): string {
  return json?.includes('"') === true ? `"${json.replaceAll('"', '""')}"` : field(json);
}

/**
 * A field that no spreadsheet runs: an apostrophe precedes text that might be a formula, negative numbers included.
 * Quotes are doubled (RFC 4180).
 */
export function field(text: string | null): string {
  if (text === null || text === '') return '';
  if (PLAIN.test(text)) return text;
  const shown = visibleInCsv(text);
  const safe = FORMULA.test(text) || FORMULA.test(shown) ? `'${shown}` : shown;
  return QUOTED.test(safe) || safe !== shown ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The same for an entry of a page. */
export function csvEntry(entry: Entry): string {
  const { user } = entry;
  const details = entry.details === null ? null : toSafeJson(entry.details);
  const texts = [
    entry.id,
    entry.created_at,
    user.id,
    user.name,
    user.email,
    entry.action,
    entry.resource_type,
  ];
  const rest = [entry.resource_id, details, entry.ip_address, entry.server, entry.outcome];
  return `${[...texts, ...rest].map((text) => field(text)).join(',')}\r\n`;
}
