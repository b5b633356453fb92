import { NetworkSet } from '../../audit/address.js';
import type { AuditEvent } from '../../audit/event.js';
import type { Config, SinkConfig } from '../../config/schema.js';
import { whyRejected } from '../../shipping/event-filter.js';
import { classifyForBan, NEWEST_MS, OLDEST_MS, type Withheld } from '../../sinks/files/ban-eligibility.js';

/** What one sink does with an event. */
export interface SinkVerdict {
  readonly sink: string;
  readonly type: string;
  /** `takes`: it is written or sent. `withholds`: the sink receives it and keeps it from fail2ban. */
  readonly verdict: 'takes' | 'withholds' | 'does not take';
  /** The reason, or a remark. */
  readonly why: string | null;
  /** Null if the sink's position is unknown. Only fail2ban's sink has `withheld`: it received the event and wrote no line. */
  readonly progress: 'delivered' | 'waiting' | 'skipped' | 'withheld' | null;
}

const REASONS: Readonly<Record<Withheld, string>> = {
  old: `its time is more than ${OLDEST_MS / 1_000} s ago`,
  future: `its time is more than ${NEWEST_MS / 1_000} s ahead of the clock`,
  unreadable: "its time can't be read",
  no_address: 'it has no client address that can be banned',
  other_server: 'it happened on another server',
  never_ban: 'its address is in fail2ban.never_ban',
};

/**
 * What a sink does with an event. Freshness is judged at the time of the event itself: every event is old by the time of the question.
 *
 * @param now milliseconds since the epoch
 */
export function verdictOf(
  event: AuditEvent,
  name: string,
  sink: SinkConfig,
  config: Config,
  progress: SinkVerdict['progress'],
  now: number,
): SinkVerdict {
  const about = { sink: name, type: sink.type, progress };
  const rejected = whyRejected(sink.events, event);
  if (rejected !== null) return { ...about, verdict: 'does not take', why: `its filter is ${rejected}` };
  if (sink.type !== 'fail2ban') return { ...about, verdict: 'takes', why: null };
  const neverBan = new NetworkSet(config.fail2ban.never_ban);
  const fresh = classifyForBan(event, event.time ?? now, neverBan);
  if (fresh === null) return { ...about, verdict: 'does not take', why: 'it takes failed logins only' };
  if (fresh !== 'write') return { ...about, progress: null, verdict: 'withholds', why: REASONS[fresh] };
  const late = classifyForBan(event, now, neverBan);
  if (late === 'write' || late === null) return { ...about, verdict: 'takes', why: 'it is fresh' };
  if (progress === 'delivered') return { ...about, verdict: 'takes', why: null };
  if (late === 'future') return { ...about, progress: null, verdict: 'withholds', why: REASONS.future };
  if (progress === 'withheld') {
    const why = `it was read when its time was more than ${OLDEST_MS / 1_000} s ago, and no line was written`;
    return { ...about, verdict: 'withholds', why };
  }
  return {
    ...about,
    progress: null,
    verdict: 'takes',
    why: `if it arrived while it was fresh; now it would be withheld: ${REASONS[late]}`,
  };
}
