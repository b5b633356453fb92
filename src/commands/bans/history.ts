import { createClassifier } from '../../audit/catalog.js';
import type { Contacts } from '../../config/load.js';
import { createOwnSource } from '../../source/auditd-source.js';
import { openStateReader } from '../support/state-reader.js';
import { escapeUnsafe, formatAge, formatCount } from '../support/terminal.js';
import { shownTime, type Times } from '../support/times.js';

/** A ban or unban as the daemon recorded it. */
export interface PastBan {
  readonly id: string;
  /** ISO 8601, UTC; null if it can't be read. */
  readonly time: string | null;
  readonly event: 'ban' | 'unban';
  readonly address: string;
  readonly failures: number | null;
  /** Null: for ever. */
  readonly ban_time_seconds: number | null;
}

const SHOWN = 10;
/** This many of the daemon's newest events are searched. */
const NEWEST = 5_000;

/** The last bans and unbans, the newest last; none if state.db can't be read. */
export function banHistory(config: Pick<Contacts, 'state' | 'server'>): PastBan[] {
  const ledger = openStateReader(config.state);
  if ('why' in ledger) return [];
  try {
    const source = createOwnSource({
      db: ledger.db,
      table: 'audit_log',
      sourceId: ledger.sourceId,
      classify: createClassifier(),
      redact: (details) => details,
      clock: Date.now,
      server: config.server,
    });
    const mark = { timeline: 1, id: 0, fingerprint: null };
    const first = source.read({ mark, after: 0, maxRows: 1, maxBytes: 1 });
    const after = first.state === 'reading' ? Math.max(0, first.maxId - NEWEST) : 0;
    const look = source.read({ mark, after, maxRows: NEWEST, maxBytes: 2 ** 24 });
    if (look.state !== 'reading') return [];
    return look.events
      .filter(({ type }) => type.category === 'ban')
      .slice(-SHOWN)
      .map(({ sequence, time, action, address, resource, details }) => ({
        id: `auditd:${sequence}`,
        time: time === null ? null : new Date(time).toISOString(),
        event: action === 'ban.ban' ? 'ban' : 'unban',
        address: resource.id ?? address ?? '',
        ...numbersOf(details),
      }));
  } finally {
    ledger.close();
  }
}

function numbersOf(details: string | null): Pick<PastBan, 'failures' | 'ban_time_seconds'> {
  const value = JSON.parse(details ?? '{}') as Record<string, unknown>;
  const number = (member: unknown) => (typeof member === 'number' ? member : null);
  return { failures: number(value.failures), ban_time_seconds: number(value.ban_time_seconds) };
}

/** Time, action, address, and reason with duration. */
export function renderPast(past: PastBan, times: Times): string[] {
  const { time, event, address, failures, ban_time_seconds } = past;
  const when = shownTime(time, times, '?');
  if (event === 'unban') return [when, 'unbanned', escapeUnsafe(address)];
  const why = failures === null || failures === 0 ? 'by hand' : `after ${formatCount(failures, 'failure')}`;
  const long = ban_time_seconds === null ? 'for ever' : `for ${formatAge(ban_time_seconds * 1_000)}`;
  return [when, 'banned', escapeUnsafe(address), `${why}, ${long}`];
}
