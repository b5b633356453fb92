import { NetworkSet, parseAddress } from '../audit/address.js';
import type { Outcome } from '../audit/catalog.js';
import type { SourceName } from '../audit/event.js';
import { parseTime } from '../audit/time.js';
import { durationSchema } from '../config/duration-and-size.js';
import { AuditdError } from '../errors.js';

/** The parts of a query's filter; null matches everything. Plain data, so that it can be sent to another thread. */
export interface Filter {
  /** The row's `resource_type`, or its name in the catalog. */
  readonly resourceType: string | null;
  /** The canonical name, or the word in the row. */
  readonly action: string | null;
  /** The exact id, name or email address of the user. */
  readonly user: string | null;
  /** Milliseconds since the epoch, inclusive. */
  readonly from: number | null;
  /** Milliseconds since the epoch, exclusive. */
  readonly to: number | null;
  readonly server: string | null;
  /** An address in canonical text, or a network in CIDR notation. */
  readonly ip: string | null;
  readonly outcome: Outcome | null;
  readonly source: SourceName | null;
  /** Text contained in `details` as shown (compact, secrets masked), ignoring case. */
  readonly q: string | null;
  /** Whether archived rows are included. */
  readonly archives: boolean;
  /** Whether archives may be missing: the answer then reports what it lacks; otherwise that is an error. */
  readonly allowMissing: boolean;
}

/** The names of the parts of a filter in parameters and options. */
export const FILTER_KEYS = [
  'resource_type',
  'action',
  'user',
  'from',
  'to',
  'server',
  'ip',
  'outcome',
  'source',
  'q',
  'archives',
  'allow_missing',
] as const;

export type FilterKey = (typeof FILTER_KEYS)[number];
export type FilterInput = Readonly<Partial<Record<FilterKey, string | undefined>>>;

export const EVERYTHING: Filter = {
  resourceType: null,
  action: null,
  user: null,
  from: null,
  to: null,
  server: null,
  ip: null,
  outcome: null,
  source: null,
  q: null,
  archives: false,
  allowMissing: false,
};

const OUTCOMES: readonly Outcome[] = ['success', 'failure', 'unknown'];
const SOURCES: readonly SourceName[] = ['postern', 'auditd'];
/** Longer text is not a name, and would be compared with each row. */
const LONGEST = 1_000;
const DATE = /^\d{4}-\d\d-\d\d$/;
/** A year or a date without hyphens: as seconds since the epoch it would be in 1970. */
const HALF_DATE = /^\d{1,8}$/;
const TIMES = 'a date (2026-11-22), a date with a time (2026-11-22T20:21:00Z) or a span before now (-7d)';

/**
 * Parses a filter. Empty text means that the part is not set.
 *
 * @param now milliseconds since the epoch, to which `-7d` is relative
 * @throws AuditdError `USAGE` that names the parameter, what was found and what is allowed
 */
export function parseFilter(input: FilterInput, now: number): Filter {
  const text = (key: FilterKey): string | null => {
    const value = input[key];
    if (value === undefined || value === '') return null;
    if (value.length > LONGEST) {
      throw new AuditdError('USAGE', `${key}: found ${value.length} characters`, {
        next: `Give at most ${LONGEST}`,
      });
    }
    return value;
  };
  const filter: Filter = {
    resourceType: text('resource_type'),
    action: text('action'),
    user: text('user'),
    from: timeOf('from', text('from'), now),
    to: timeOf('to', text('to'), now),
    server: text('server'),
    ip: networkOf(text('ip')),
    outcome: oneOf('outcome', text('outcome'), OUTCOMES),
    source: oneOf('source', text('source'), SOURCES),
    q: text('q'),
    archives: oneOf('archives', text('archives'), ['true', 'false']) !== 'false',
    allowMissing: oneOf('allow_missing', text('allow_missing'), ['true', 'false']) === 'true',
  };
  if (filter.from !== null && filter.to !== null && filter.from >= filter.to) {
    throw new AuditdError(
      'USAGE',
      `to: ${new Date(filter.to).toISOString()} is not after from, ${new Date(filter.from).toISOString()}`,
      { next: 'Give a later end. It is exclusive: for one day, give the day after it' },
    );
  }
  return filter;
}

function refuse(key: FilterKey, found: string, allowed: string): never {
  const shown = JSON.stringify(found.length > 60 ? `${found.slice(0, 60)}…` : found);
  throw new AuditdError('USAGE', `${key}: found ${shown}`, { next: `Give ${allowed}` });
}

function oneOf<T extends string>(key: FilterKey, text: string | null, allowed: readonly T[]): T | null {
  if (text === null) return null;
  return allowed.find((value) => value === text) ?? refuse(key, text, `one of ${allowed.join(', ')}`);
}

function timeOf(key: FilterKey, text: string | null, now: number): number | null {
  if (text === null) return null;
  if (text === 'now') return now;
  if (text.startsWith('-')) {
    const span = durationSchema.safeParse(text.slice(1));
    return span.success ? now - span.data : refuse(key, text, TIMES);
  }
  if (HALF_DATE.test(text)) return refuse(key, text, TIMES);
  return parseTime(DATE.test(text) ? `${text} 00:00:00` : text) ?? refuse(key, text, TIMES);
}

function networkOf(text: string | null): string | null {
  if (text === null) return null;
  if (!text.includes('/')) {
    return parseAddress(text) ?? refuse('ip', text, 'an address or a network such as 192.0.2.0/24');
  }
  try {
    new NetworkSet([text]);
    return text;
  } catch {
    return refuse('ip', text, 'an address or a network such as 192.0.2.0/24 or 2001:db8::/32');
  }
}
