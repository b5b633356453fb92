import type { Filter } from './filter.js';
import type { QueryTable } from './table.js';

const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59);

/**
 * Whether a time is one such as SQLite writes it, `2026-11-22 20:21:00`, in whose order times are that of their text; and after 1970, as
 * parseTime wants it. SQLite 3.53 takes `24:00:00` for a time, and gives it back as it is (measured).
 */
export function isWritten(column: string): string {
  return `(${column} IS datetime(${column}) AND ${column} >= '1970-01-01 00:00:00' AND ${column} NOT GLOB '???????????24*')`;
}

/** Whether a time that is written so is in the range of a filter that has one. */
export function isInRange(column: string, { from, to }: Filter): string {
  return [
    ...(from === null ? [] : [`${column} >= '${textOf(Math.ceil(from / 1_000) * 1_000)}'`]),
    ...(to === null ? [] : [`${column} < '${textOf(Math.ceil(to / 1_000) * 1_000)}'`]),
  ].join(' AND ');
}

/**
 * `AND …`, which leaves out rows that are out of the range for certain, before they are read: next to its bounds a range of ids
 * has thousands of them. Empty where all times are meant.
 */
export function timeSieve(table: QueryTable, filter: Filter): string {
  if (filter.from === null && filter.to === null) return '';
  const created = table.columns.created_at;
  return `AND ((${isInRange(created, filter)}) OR NOT ${isWritten(created)})`;
}

/** As SQLite writes a time; those beyond its calendar sort as the first or the last one. */
function textOf(time: number): string {
  if (time > LATEST) return ':';
  return new Date(Math.max(0, time)).toISOString().slice(0, 19).replace('T', ' ');
}
