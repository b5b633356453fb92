import type { ColumnValue } from '../audit/event.js';

/**
 * Octets of a column's value that are read at the most. V8 has no text beyond 512 MiB, so a row with one could not be read at all, nor
 * anything behind it; and long before that it is work that keeps the thread that ships from everything else.
 */
export const MOST_READ = 16 * 2 ** 20;

const UNREAD = 'postern-auditd: not read, bytes: ';

/**
 * SQL that gives a column's value, or a BLOB that says how long it is. SQLite knows the length from the head of the row
 * (`octet_length`, and not `length`, which counts characters): what is not read is not loaded either.
 */
export function readable(column: string): string {
  const length = `octet_length(${column})`;
  return `CASE WHEN ${length} > ${MOST_READ} THEN CAST('${UNREAD}' || ${length} AS BLOB) ELSE ${column} END`;
}

/** How many octets a value has that was not read; null for one that was. */
export function unreadLength(value: ColumnValue | undefined): number | null {
  if (!Buffer.isBuffer(value) || value.length > UNREAD.length + 20) return null;
  const text = value.toString('latin1');
  return text.startsWith(UNREAD) ? Number(text.slice(UNREAD.length)) : null;
}

/** A value that was read elsewhere and whole, as it would have been read here: a row has one `event.id`, whoever reads it. */
export function asRead<T extends ColumnValue>(value: T): T | Buffer {
  const length = octetsOf(value);
  return length > MOST_READ ? Buffer.from(`${UNREAD}${length}`) : value;
}

function octetsOf(value: ColumnValue): number {
  if (Buffer.isBuffer(value)) return value.length;
  if (typeof value !== 'string' || value.length * 3 <= MOST_READ) return 0;
  return Buffer.byteLength(value);
}
