import { createTask, parse } from 'node-cron';

const MINUTE_MS = 60_000;
/** Further back than this it makes no difference whether one run was missed or many. */
const LOOKED_BACK_MS = 40 * 86_400_000;

/** When runs are due, in UTC. */
export interface Schedule {
  /** The last minute in (after, upTo] that the pattern means, ms since the epoch; null if there is none. */
  lastDue(after: number, upTo: number): number | null;
  /** The first one behind a time; null if there is none within about 40 days. */
  next(after: number): number | null;
}

/** @param pattern five fields of cron that `retention.schedule` takes */
export function createSchedule(pattern: string): Schedule {
  const { minute, hour } = parse(pattern);
  const minutes = new Set(minute);
  const hours = new Set(hour);
  const task = createTask(pattern, () => undefined, { timezone: 'UTC', suppressMissedWarning: true });
  const matches = (time: number): boolean => {
    const date = new Date(time);
    if (!minutes.has(date.getUTCMinutes()) || !hours.has(date.getUTCHours())) return false;
    return task.match(date); // 20 µs: it goes by time zones
  };
  return {
    lastDue(after, upTo) {
      const earliest = Math.max(after, upTo - LOOKED_BACK_MS);
      for (let at = floor(upTo); at > earliest; at -= MINUTE_MS) if (matches(at)) return at;
      return null;
    },
    next(after) {
      const latest = after + LOOKED_BACK_MS;
      for (let at = floor(after) + MINUTE_MS; at <= latest; at += MINUTE_MS) if (matches(at)) return at;
      return null;
    },
  };
}

function floor(time: number): number {
  return Math.floor(time / MINUTE_MS) * MINUTE_MS;
}

export interface RunTimes {
  /** When the last run that did all there was to do began; null if there was none. */
  readonly lastSuccess: number | null;
  /** When the run after it failed; null if none did. */
  readonly lastFailure: number | null;
  /** When retention was first found switched on: what was due before is not made up for. */
  readonly enabledSince: number;
}

/** After a run that failed, how long until the next try. */
export const RETRY_MS = 15 * MINUTE_MS;

/** Is a run due? One that was missed, or failed, is made up for by one. Times that lie ahead come of a clock that was set back. */
export function isDue(schedule: Schedule, times: RunTimes, now: number): boolean {
  const known = Math.max(times.lastSuccess ?? 0, times.enabledSince);
  if (schedule.lastDue(known > now ? now - MINUTE_MS : known, now) === null) return false;
  const { lastFailure } = times;
  return lastFailure === null || lastFailure > now || now - lastFailure >= RETRY_MS;
}
