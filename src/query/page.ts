import type { AuditEvent } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { CSV_HEADER, csvLine } from './csv.js';
import { type Entry, entryLine, entryObject } from './entry.js';
import type { Format } from './export.js';
import type { Filter } from './filter.js';
import { trailer } from './incomplete-trailer.js';
import type { Versions } from './plan/versions.js';
import type { UnknownNameNote } from './unknown-names.js';

export interface PageRequest {
  readonly filter: Filter;
  /** From 1; ignored with a cursor. */
  readonly page: number;
  readonly limit: number;
  readonly cursor: string | null;
  /** `some`: exact up to 10,000. */
  readonly count: 'none' | 'some' | 'all';
  /** Longer details become text, cut to this many characters; omitted or null: they are returned whole. */
  readonly brief?: number | null;
  /** Milliseconds from now on. */
  readonly timeLimit: number;
}

export interface PageResult extends UnknownNameNote {
  readonly entries: readonly Entry[];
  readonly page: number | null;
  readonly limit: number;
  /** Null if not requested. */
  readonly total: number | null;
  /** False if there are more than `total`. */
  readonly total_exact: boolean;
  /** Cursor of the next page; null on the last page. */
  readonly next: string | null;
  /** The entries that the page lacks because archives are missing, as text; omitted if it lacks none. */
  readonly incomplete?: string;
}

export const COUNTED = 10_000;
export const MOST_PER_PAGE = 1_000;
/** Characters of details on a page, in total, at most: a page is in memory as a whole. */
export const MOST_PAGE = 64 * 2 ** 20;

/** A page as text. */
export interface PageText {
  /** UTF-8. */
  readonly bytes: Uint8Array;
  readonly next: string | null;
}

const encoder = new TextEncoder();

export function pageText(
  events: readonly AuditEvent[],
  rest: Omit<PageResult, 'entries'>,
  format: Format,
  versions: Versions,
): PageText {
  const { next, page, limit, total, total_exact, incomplete, note } = rest;
  const end = incomplete === undefined ? '' : trailer(format, incomplete);
  const text = () => {
    switch (format) {
      case 'json':
        return `{"entries":[${events.map((event) => entryObject(event, versions(event))).join(',')}],${JSON.stringify({ page, limit, total, total_exact, next, incomplete, note }).slice(1)}\n`;
      case 'ndjson':
        return events.map((event) => entryLine(event, versions(event))).join('') + end;
      case 'csv':
        return CSV_HEADER + events.map((event) => csvLine(event)).join('') + end;
    }
  };
  return { bytes: encoder.encode(text()), next };
}

export function tooLarge(): AuditdError {
  return new AuditdError(
    'USAGE',
    `limit: the entries of this page are larger than ${MOST_PAGE / 2 ** 20} MiB together`,
    { next: 'Give a lower limit, or export all entries as a stream (limit=0, or the command export)' },
  );
}
