const DAY = 86_400_000;
/** 1 January 1970 was a Thursday; weeks begin on Monday. */
const MONDAY = 4 * DAY;

/** The beginning of the period of `every` ms that holds `time`: UTC midnights for days, Mondays for weeks. */
export function periodStart(time: number, every: number): number {
  const origin = every % (7 * DAY) === 0 ? MONDAY : 0;
  return Math.floor((time - origin) / every) * every + origin;
}

export interface RollRule {
  /** Bytes from which on a file is full. */
  readonly size: number;
  /** Milliseconds; null: never by time. */
  readonly every: number | null;
  /** Milliseconds that a file is written to at least, however large it gets. */
  readonly rest: number;
}

export interface RollState {
  readonly now: number;
  /** When the file was begun; not ahead of `now`. */
  readonly since: number;
  readonly size: number;
  /** True if it has no event. */
  readonly empty: boolean;
}

/** True if the next line belongs into a new file. */
export function mustRoll(rule: RollRule, { now, since, size, empty }: RollState): boolean {
  if (empty || now - since < rule.rest) return false;
  if (size >= rule.size) return true;
  return rule.every !== null && periodStart(now, rule.every) > periodStart(since, rule.every);
}

/** Numbers of the files to remove, oldest first: all but the newest `keep`. */
export function surplus(numbers: readonly number[], keep: number): number[] {
  const ascending = numbers.toSorted((a, b) => a - b);
  return ascending.slice(0, Math.max(0, ascending.length - keep));
}
