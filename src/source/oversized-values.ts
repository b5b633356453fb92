import type { ColumnValue } from '../audit/event.js';

/**
 * Maximum octets read of a column's value. V8 has no string beyond 512 MiB, so a row with a longer one could not be read, nor could any
 * later row. Much shorter values already block the shipping thread for too long.
 */
export const MOST_READ = 16 * 2 ** 20;

const UNREAD = 'postern-auditd: not read, bytes: ';

/**
 * SQL for a column's value, or for a BLOB with its length. SQLite knows the length from the row's header (`octet_length`, not `length`,
 * which counts characters), so values that are not read are not loaded either.
 */
export function readable(column: string): string {
  const length = `octet_length(${column})`;
  return `CASE WHEN ${length} > ${MOST_READ} THEN CAST('${UNREAD}' || ${length} AS BLOB) ELSE ${column} END`;
}

/** The length in octets of a value that was not read; null for one that was. */
export function unreadLength(value: ColumnValue | undefined): number | null {
  if (!Buffer.isBuffer(value) || value.length > UNREAD.length + 20) return null;
  const text = value.toString('latin1');
  return text.startsWith(UNREAD) ? Number(text.slice(UNREAD.length)) : null;
}

/** Converts a value that was read completely elsewhere to the form read here: a row has the same `event.id` for every reader. */
export function asRead<T extends ColumnValue>(value: T): T | Buffer {
  const length = octetsOf(value);
  return length > MOST_READ ? Buffer.from(`${UNREAD}${length}`) : value;
}

function octetsOf(value: ColumnValue): number {
  if (Buffer.isBuffer(value)) return value.length;
  if (typeof value !== 'string' || value.length * 3 <= MOST_READ) return 0;
  return Buffer.byteLength(value);
}
