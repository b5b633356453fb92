import { bansOn } from '../../fail2ban/client.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Count } from '../../query/stats.js';
import type { LoopStatus } from '../../shipping/loop-status.js';
import { span } from './time-ago.js';

type Level = 'good' | 'note' | 'bad';

/** The answer to a question in one line, and the reason for it in another. */
export interface AttackVerdict {
  readonly mood: Level;
  readonly headline: string;
  readonly because: string;
}

export interface FailureTrend {
  /** Failed logins in the last hour, from all addresses. */
  readonly failed_logins: number;
  readonly offenders: readonly Count[];
}

/** So many failed logins in an hour are an attack even if no single address reaches the limit. */
const MANY = 20;

/**
 * Answers whether an attack is under way.
 *
 * @param recent null while failed logins are still being counted
 * @param banned null if fail2ban does not answer
 * @param limit failures of one address that lead to a ban
 */
export function assessAttack(
  recent: FailureTrend | null,
  banned: readonly string[] | null,
  limit: number,
): AttackVerdict {
  if (recent === null)
    return {
      mood: 'note',
      headline: 'Failed logins are still being counted',
      because: 'Reload the page in a moment.',
    };
  const { failed_logins: failedLogins, offenders } = recent;
  if (failedLogins === 0)
    return {
      mood: 'good',
      headline: 'Nobody is attacking',
      because: 'There were no failed logins in the last hour.',
    };
  const from = `from ${countText(offenders.length, 'address', 'addresses')}`;
  const sum = `${countText(failedLogins, 'failed login')} in the last hour ${from}.`;
  const heavy = offenders.filter(({ count: failures }) => failures >= limit);
  if (heavy.length === 0 && failedLogins < MANY) {
    return {
      mood: 'note',
      headline: 'A few failed logins, no attack',
      because: `${sum} No address has reached the limit of ${limit}.`,
    };
  }
  if (banned === null)
    return {
      mood: 'bad',
      headline: 'Under attack',
      because: `${sum} fail2ban does not answer, so the bans are not known.`,
    };
  const free = heavy.filter(({ name }) => bansOn(name, banned).length === 0);
  if (heavy.length > 0 && free.length === 0) {
    const who =
      ['', 'The attacker is', 'Both attackers are'][heavy.length] ?? `All ${heavy.length} attackers are`;
    return { mood: 'note', headline: 'Attack blocked', because: `${sum} ${who} banned.` };
  }
  const rest =
    heavy.length === 0
      ? 'No single address has reached the limit: the attack is spread over many.'
      : `${free.length === heavy.length ? 'None' : `${heavy.length - free.length} of ${heavy.length}`} of the addresses over the limit ${free.length === heavy.length ? 'is' : 'are'} banned.`;
  return { mood: 'bad', headline: 'Under attack', because: `${sum} ${rest}` };
}

/** A sink that lags by more is not up to date. */
const BEHIND_S = 60;

export interface SinkHealth {
  readonly mood: Level;
  /** `up to date`, `12 events behind`, `down`. */
  readonly state: string;
}

export function assessSink(sink: LoopStatus, now: number): SinkHealth {
  const behind = `${countText(sink.lag_events, 'event')} behind`;
  if (sink.state === 'backing off') {
    return {
      mood: 'bad',
      state: `down for ${span(now - sink.since)}${sink.lag_events > 0 ? `, ${behind}` : ''}`,
    };
  }
  if (sink.lag_events === 0) return { mood: 'good', state: 'up to date' };
  if (sink.lag_seconds < BEHIND_S) return { mood: 'good', state: `sending, ${behind}` };
  return { mood: 'note', state: `${behind}, for ${span(sink.lag_seconds * 1_000)}` };
}

/** Sinks that send events to another host. */
const REMOTE = new Set(['syslog', 'http', 'jetstream']);

/** Answers whether the SIEM is up to date. */
export function assessDelivery(sinks: Readonly<Record<string, LoopStatus>>, now: number): AttackVerdict {
  const all = Object.entries(sinks).map(([name, sink]) => ({ name, sink, ...assessSink(sink, now) }));
  const remote = all.filter(({ sink }) => REMOTE.has(sink.type));
  const bad = all.filter(({ mood }) => mood === 'bad');
  const slow = all.filter(({ mood }) => mood === 'note');
  const what = remote.length === 0 ? 'The log' : 'The SIEM';
  const [worst] = [...bad.filter(({ sink }) => REMOTE.has(sink.type)), ...bad];
  if (worst !== undefined) {
    const name = REMOTE.has(worst.sink.type) ? "The SIEM can't be reached" : `${worst.name} can't be written`;
    const error = worst.sink.last_error?.message;
    const because = `${worst.name} is ${worst.state}${error === undefined ? '' : `: ${error}`}`;
    return {
      mood: 'bad',
      headline: name,
      because: `${because}. Nothing is lost: delivery resumes when this is fixed.`,
    };
  }
  if (slow.length > 0) {
    return {
      mood: 'note',
      headline: `${what} is catching up`,
      because: `${slow.map(({ name, state }) => `${name} is ${state}`).join('; ')}.`,
    };
  }
  if (remote.length === 0) {
    return {
      mood: 'note',
      headline: 'No SIEM is set up',
      because: 'Events are written to files on this host, which are up to date.',
    };
  }
  const names = remote.map(({ name }) => name).join(', ');
  return {
    mood: 'good',
    headline: 'The SIEM is up to date',
    because: `${names} ${remote.length === 1 ? 'has' : 'have'} received every event.`,
  };
}

export function countText(number: number, one: string, many = `${one}s`): string {
  return `${groupedDigits(number)} ${number === 1 ? one : many}`;
}
