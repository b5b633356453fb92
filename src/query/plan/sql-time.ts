import { FURTHEST_MS } from '../../audit/time-zone.js';
import type { Filter } from '../filter.js';
import type { QueryTable } from './table-schema.js';

const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59);

/**
 * SQL for whether a time has SQLite's form, `2026-11-22 20:21:00`, in which the order of times is that of their texts, and is after 1970, as
 * parseTime requires. SQLite 3.53 accepts `24:00:00` and returns it unchanged (measured). In a time zone other than UTC, the first and
 * the last day are excluded, as parts of them are outside the range of times.
 */
export function hasSqliteForm(column: string, isUtc: boolean): string {
  const [first, last] = isUtc ? ['1970-01-01 00:00:00', ''] : ['1970-01-02 00:00:00', '9999-12-31'];
  const end = last === '' ? '' : ` AND ${column} < '${last}'`;
  return `(${column} IS datetime(${column}) AND ${column} >= '${first}'${end} AND ${column} NOT GLOB '???????????24*')`;
}

type Range = Pick<Filter, 'from' | 'to'>;

/** SQL for whether a time in this form may be within the filter's range; in UTC, whether it is. */
function mayBeIn(column: string, range: Range, isUtc: boolean): string {
  return between(column, range, isUtc ? 0 : FURTHEST_MS);
}

/** SQL for whether it is within that range in every time zone. */
function isIn(column: string, range: Range, isUtc: boolean): string {
  return between(column, range, isUtc ? 0 : -FURTHEST_MS);
}

function between(column: string, { from, to }: Range, more: number): string {
  return [
    ...(from === null ? [] : [`${column} >= '${textOf(Math.ceil((from - more) / 1_000) * 1_000)}'`]),
    ...(to === null ? [] : [`${column} < '${textOf(Math.ceil((to + more) / 1_000) * 1_000)}'`]),
  ].join(' AND ');
}

/** Two conditions on a time, for a filter with a range: whether its text alone decides, and whether it is then within the range. */
export function decidedByText(
  column: string,
  range: Range,
  isUtc: boolean,
): { readonly isDecided: string; readonly isIn: string } {
  const inside = `(${isIn(column, range, isUtc)})`;
  const written = hasSqliteForm(column, isUtc);
  if (isUtc) return { isDecided: written, isIn: inside };
  const isDecided = `(${written} AND (${inside} OR NOT (${mayBeIn(column, range, isUtc)})))`;
  return { isDecided, isIn: inside };
}

/**
 * SQL (`AND …`) that excludes rows that are certainly outside the filter's range before they are read: at its ends a range of ids has
 * thousands of them. Empty if the filter has no range.
 */
export function timeSieve({ columns, isUtc }: QueryTable, filter: Filter): string {
  if (filter.from === null && filter.to === null) return '';
  const created = columns.created_at;
  return `AND ((${mayBeIn(created, filter, isUtc)}) OR NOT ${hasSqliteForm(created, isUtc)})`;
}

/** A time in SQLite's form. Times outside SQLite's calendar become text that sorts first or last. */
function textOf(time: number): string {
  if (time > LATEST) return ':';
  return new Date(Math.max(0, time)).toISOString().slice(0, 19).replace('T', ' ');
}
