import { createTask, parse } from 'node-cron';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** 29 February falls on a given weekday once in 28 years, around 2100 once in 40. A day that does not occur within these never occurs. */
const FURTHEST_DAYS = 41 * 366;

/**
 * When runs are due, in UTC.
 *
 * node-cron parses the pattern and matches a day. Its timers are not used, because a missed run must be made up for. croner computes the
 * last due time itself (`previousRuns`); here that is a loop over days, which is no reason to change the library.
 */
export interface Schedule {
  /** The last minute in (after, upTo] that matches the pattern, ms since the epoch; null if there is none. */
  lastDue(after: number, upTo: number): number | null;
  /** The first matching minute after a time; null if no day ever matches. */
  next(after: number): number | null;
}

/** @param pattern the five cron fields of `retention.schedule` */
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
    return task.match(date); // takes 20 µs, because it handles time zones
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
  /** When the last complete run began; null if there was none. */
  readonly lastSuccess: number | null;
  /** When a later run failed; null if none did. */
  readonly lastFailure: number | null;
  /** When retention was first found enabled: earlier due times are not made up for. */
  readonly enabledSince: number;
}

/** Delay between a failed run and the retry. */
export const RETRY_MS = 15 * MINUTE_MS;

/** Whether a run is due. One run makes up for all missed or failed ones. Times in the future are due to a clock that was set back. */
export function isDue(schedule: Schedule, times: RunTimes, now: number): boolean {
  const known = Math.max(times.lastSuccess ?? 0, times.enabledSince);
  if (schedule.lastDue(known > now ? now - MINUTE_MS : known, now) === null) return false;
  const { lastFailure } = times;
  return lastFailure === null || lastFailure > now || now - lastFailure >= RETRY_MS;
}
