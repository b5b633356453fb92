import { FURTHEST_MS } from '../../audit/time-zone.js';
import type { Filter } from '../filter.js';
import type { QueryTable } from './table-schema.js';

const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59);

/**
 * Whether a time is one such as SQLite writes it, `2026-11-22 20:21:00`, in whose order times are that of their text; and after 1970, as
 * parseTime wants it. SQLite 3.53 takes `24:00:00` for a time, and gives it back as it is (measured). On a clock that is not UTC's
 * the first and the last day of all are left out: parts of them are out of the range of times.
 */
export function isWritten(column: string, isUtc: boolean): string {
  const [first, last] = isUtc ? ['1970-01-01 00:00:00', ''] : ['1970-01-02 00:00:00', '9999-12-31'];
  const end = last === '' ? '' : ` AND ${column} < '${last}'`;
  return `(${column} IS datetime(${column}) AND ${column} >= '${first}'${end} AND ${column} NOT GLOB '???????????24*')`;
}

type Range = Pick<Filter, 'from' | 'to'>;

/** Whether a time that is written so may be in the range of a filter that has one: of UTC it is. */
function mayBeIn(column: string, range: Range, isUtc: boolean): string {
  return between(column, range, isUtc ? 0 : FURTHEST_MS);
}

/** Whether it is in that range, whatever the zone. */
function isIn(column: string, range: Range, isUtc: boolean): string {
  return between(column, range, isUtc ? 0 : -FURTHEST_MS);
}

function between(column: string, { from, to }: Range, more: number): string {
  return [
    ...(from === null ? [] : [`${column} >= '${textOf(Math.ceil((from - more) / 1_000) * 1_000)}'`]),
    ...(to === null ? [] : [`${column} < '${textOf(Math.ceil((to + more) / 1_000) * 1_000)}'`]),
  ].join(' AND ');
}

/** Two conditions on a time, for a filter that has a range: whether its text alone says if it is in there, and whether it is then. */
export function decidedByText(
  column: string,
  range: Range,
  isUtc: boolean,
): { readonly isDecided: string; readonly isIn: string } {
  const inside = `(${isIn(column, range, isUtc)})`;
  const written = isWritten(column, isUtc);
  if (isUtc) return { isDecided: written, isIn: inside };
  const isDecided = `(${written} AND (${inside} OR NOT (${mayBeIn(column, range, isUtc)})))`;
  return { isDecided, isIn: inside };
}

/**
 * `AND …`, which leaves out rows that are out of the range for certain, before they are read: next to its bounds a range of ids
 * has thousands of them. Empty where all times are meant.
 */
export function timeSieve({ columns, isUtc }: QueryTable, filter: Filter): string {
  if (filter.from === null && filter.to === null) return '';
  const created = columns.created_at;
  return `AND ((${mayBeIn(created, filter, isUtc)}) OR NOT ${isWritten(created, isUtc)})`;
}

/** As SQLite writes a time; those beyond its calendar sort as the first or the last one. */
function textOf(time: number): string {
  if (time > LATEST) return ':';
  return new Date(Math.max(0, time)).toISOString().slice(0, 19).replace('T', ' ');
}
