import { NetworkSet, parseAddress } from '../audit/address.js';
import type { Outcome } from '../audit/catalog.js';
import type { SourceName } from '../audit/event.js';
import { parseTime } from '../audit/time.js';
import { durationSchema } from '../config/duration-and-size.js';
import { AuditdError } from '../errors.js';

/** What is looked for; a part that is null lets everything through. Plain data, so that it can go to another thread. */
export interface Filter {
  /** The row's `resource_type`, or the catalog's name of what it means. */
  readonly resourceType: string | null;
  /** The canonical name, or the word of the row. */
  readonly action: string | null;
  /** Id, name or e-mail address of who did it, exactly. */
  readonly user: string | null;
  /** Milliseconds since the epoch; this one counts. */
  readonly from: number | null;
  /** Milliseconds since the epoch; this one no longer counts. */
  readonly to: number | null;
  readonly server: string | null;
  /** An address in canonical text, or a network in CIDR notation. */
  readonly ip: string | null;
  readonly outcome: Outcome | null;
  readonly source: SourceName | null;
  /** Part of the text of `details` as it is shown (compact, secrets masked); case does not count. */
  readonly q: string | null;
  /** Whether archived rows are looked at, too, once there are any. */
  readonly archives: boolean;
  /** Whether archives may be missing: what is left out is said then, and is an error otherwise. */
  readonly allowMissing: boolean;
}

/** The names under which people write the parts of a filter. */
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
/** What is longer is nobody's name, and would be compared with each row. */
const LONGEST = 1_000;
const DATE = /^\d{4}-\d\d-\d\d$/;
/** A year or a date without its hyphens: as seconds since the epoch it would be in 1970. */
const HALF_DATE = /^\d{1,8}$/;
const TIMES = 'a date (2026-11-22), a date with a time (2026-11-22T20:21:00Z) or a span before now (-7d)';

/**
 * Reads a filter as people write it. Empty text is as good as left out.
 *
 * @param now milliseconds since the epoch, which `-7d` counts from
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
