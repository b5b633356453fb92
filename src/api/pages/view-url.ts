import { AuditdError, explained } from '../../errors.js';
import {
  EVERYTHING,
  FILTER_KEYS,
  type Filter,
  type FilterInput,
  type FilterKey,
  parseFilter,
} from '../../query/filter.js';
import { splitParameter } from '../http/problem.js';
import { PAGE } from '../paths.js';

export const PER_PAGE = 50;

/** The state of the page. All of it is in the page's URL, so that a view can be bookmarked and shared. */
export interface View {
  /** As written in the URL, without empty values. `until` is the last day, inclusive; `to` is an exclusive end. */
  readonly written: Readonly<Partial<Record<FilterKey | 'until', string>>>;
  readonly filter: Filter;
  readonly page: number;
  /** What is wrong with the URL, and with which parameter; nothing is queried then. */
  readonly error: { readonly parameter: string | null; readonly message: string } | null;
}

const DATE = /^\d{4}-\d\d-\d\d$/;
/** Filters in which spaces mean nothing. In the others, a space may tell two names apart. */
const TRIMMED: ReadonlySet<string> = new Set(['from', 'to', 'until', 'ip']);
const DAY_MS = 86_400_000;
const LAST_PAGE = 1_000_000;

/** @param now milliseconds since the epoch */
export function readView(params: URLSearchParams, now: number): View {
  const written: Partial<Record<FilterKey | 'until', string>> = {};
  for (const key of [...FILTER_KEYS, 'until'] as const) {
    const text = params.get(key);
    const value = TRIMMED.has(key) ? text?.trim() : text;
    if (value !== undefined && value !== null && value !== '') written[key] = value;
  }
  try {
    const page = pageOf(params.get('page'));
    // The page itself shows which archives are missing.
    const filter = { ...parseFilter(inputOf(written), now), allowMissing: true };
    return { written, filter, page, error: null };
  } catch (error) {
    if (!(error instanceof AuditdError) || error.code !== 'USAGE') throw error;
    const { parameter: name, fault } = splitParameter(error.what);
    const parameter = name === 'to' && written.until !== undefined ? 'until' : name;
    return {
      written,
      filter: EVERYTHING,
      page: 1,
      error: { parameter, message: explained(fault, error.next) },
    };
  }
}

function pageOf(text: string | null): number {
  if (text === null || text === '') return 1;
  const page = Number(text);
  if (/^\d{1,7}$/.test(text) && page >= 1 && page <= LAST_PAGE) return page;
  throw new AuditdError('USAGE', `page: found ${JSON.stringify(text.slice(0, 40))}`, {
    next: 'Give a number from 1',
  });
}

/** The filter as the API takes it. */
export function inputOf(written: View['written']): FilterInput {
  const { until, ...input } = written;
  return until === undefined ? input : { ...input, to: dayAfter(until) };
}

function dayAfter(day: string): string {
  const time = DATE.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new AuditdError('USAGE', `until: found ${JSON.stringify(day.slice(0, 40))}`, {
      next: 'Give a day, such as 2026-11-22',
    });
  }
  return new Date(time + DAY_MS).toISOString().slice(0, 10);
}

/** The URL of the view with some parts replaced; null removes one. It starts at page 1 unless a page is given. */
export function link(
  written: View['written'],
  changes: Readonly<Partial<Record<FilterKey | 'until', string | null>>> & { readonly page?: number } = {},
): string {
  const { page, ...rest } = changes;
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...written, ...rest })) {
    if (typeof value === 'string' && value !== '') params.set(key, value);
  }
  if (page !== undefined && page > 1) params.set('page', String(page));
  const query = params.toString();
  return query === '' ? PAGE : `${PAGE}?${query}`;
}

/** The API's URL for an export of all matching entries. */
export function exportLink(view: View, format: 'csv' | 'ndjson'): string {
  const params = new URLSearchParams({ format, limit: '0' });
  for (const [key, value] of Object.entries(inputOf(view.written)))
    if (value !== undefined) params.set(key, value);
  return `/api/audit-log?${params}`;
}
