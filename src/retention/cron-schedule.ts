import { createTask, parse } from 'node-cron';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** 29 February on a given day of the week comes once in 28 years, and around 2100 once in 40. What does not come within them never does. */
const FURTHEST_DAYS = 41 * 366;

/**
 * When runs are due, in UTC.
 *
 * node-cron parses the pattern and matches a day; its timers are not used, as a run that was missed has to be made up. croner could
 * tell the last time due by itself (`previousRuns`), which here is a walk over days: not enough to change the library.
 */
export interface Schedule {
  /** The last minute in (after, upTo] that the pattern means, ms since the epoch; null if there is none. */
  lastDue(after: number, upTo: number): number | null;
  /** The first one behind a time; null if there is no such day in any year. */
  next(after: number): number | null;
}

/** @param pattern five fields of cron that `retention.schedule` takes */
export function createSchedule(pattern: string): Schedule {
  const { minute, hour, dayOfMonth, month } = parse(pattern);
  const [days, months] = [new Set(dayOfMonth), new Set(month)];
  const ascending = (one: number, other: number) => one - other;
  const times = hour
    .flatMap((hours) => minute.map((minutes) => (hours * 60 + minutes) * MINUTE_MS))
    .sort(ascending); // within a day
  const descending = times.toReversed();
  const task = createTask(pattern, () => undefined, { timezone: 'UTC', suppressMissedWarning: true });
  const isDueOn = (day: number): boolean => {
    const date = new Date(day + (times[0] ?? 0));
    if (!months.has(date.getUTCMonth() + 1) || !days.has(date.getUTCDate())) return false;
    return task.match(date); // 20 µs: it goes by time zones
  };
  return {
    lastDue(after, upTo) {
      const earliest = Math.max(after, upTo - FURTHEST_DAYS * DAY_MS);
      for (let day = dayOf(upTo); day > earliest - DAY_MS; day -= DAY_MS) {
        if (!isDueOn(day)) continue;
        const time = descending.find((one) => day + one <= upTo);
        if (time !== undefined) return day + time > earliest ? day + time : null;
      }
      return null;
    },
    next(after) {
      const first = dayOf(after);
      for (let day = first; day <= first + FURTHEST_DAYS * DAY_MS; day += DAY_MS) {
        if (!isDueOn(day)) continue;
        const time = times.find((one) => day + one > after);
        if (time !== undefined) return day + time;
      }
      return null;
    },
  };
}

function dayOf(time: number): number {
  return Math.floor(time / DAY_MS) * DAY_MS;
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
