import type { RetentionConfig } from '../config/schema.js';

/** Ages by category, milliseconds; null is for ever. */
export type Keep = RetentionConfig['keep'];

/** The time from which ages are counted. */
export interface Moment {
  /** The system's clock, ms since the epoch. */
  readonly clock: number;
  /** The earlier of the clock and the time of the newest row; null where no row has a readable time. */
  readonly reference: number | null;
}

/** The parts of a row that decide. `time` is as parsed by the reader, null if unreadable. */
export interface TimeAndCategory {
  readonly time: number | null;
  readonly category: string;
}

/** Postern did not exist before this. An earlier time is a default of 0, or comes from a machine whose clock was not set yet. */
const EARLIEST = Date.UTC(2001, 0, 1);

/**
 * No row is deleted before it is a day old, whatever `keep`, `max_rows` and `max_size` say. The purge enforces this itself. Recent rows
 * stay in the table for a day, even if an attacker controls the daemon, and receivers can fetch them.
 */
const LEAST_AGE_MS = 86_400_000;

/**
 * `old`: may be deleted. All others stay: `undated` and `future` always, `forever` because its category is configured so, `young`
 * until it is older or the table is too large.
 */
export type Eligibility = 'old' | 'young' | 'forever' | 'undated' | 'future';

/**
 * @param newest the time of the row with the highest id that has a readable time
 * @param latest if given, ages are counted from no later than this; null: from nowhere
 */
export function momentOf(
  clock: number,
  newest: number | null,
  latest: number | null = Number.POSITIVE_INFINITY,
): Moment {
  return { clock, reference: newest === null || latest === null ? null : Math.min(clock, newest, latest) };
}

/** Times are compared as numbers, never as SQL strings: to SQLite any number is less than any text. */
export function eligibilityOf(
  { time, category }: TimeAndCategory,
  keep: Keep,
  { clock, reference }: Moment,
): Eligibility {
  if (time === null || !(time >= EARLIEST)) return 'undated';
  if (time > clock) return 'future';
  const named = ageOf(keep, category);
  if (named === null) return 'forever';
  const age = named ?? keep.default;
  if (age === null || reference === null) return 'young';
  return reference - time > age && reference - time >= LEAST_AGE_MS ? 'old' : 'young';
}

/** Whether a too large table may drop it. A category explicitly kept for ever may not be dropped; one kept by the default may. */
export function mayGoEarly(fate: Eligibility, time: number | null, { reference }: Moment): boolean {
  return fate === 'young' && time !== null && reference !== null && reference - time >= LEAST_AGE_MS;
}

/** Own keys only: a category is text from the table. */
function ageOf(keep: Keep, category: string): number | null | undefined {
  if (category === 'default' || !Object.hasOwn(keep, category)) return undefined;
  return keep[category as keyof Keep];
}

export interface Totals {
  readonly rows: number;
  /** Bytes in the columns of all rows. */
  readonly bytes: number;
}

/** How much has to be deleted in addition to what is old. */
export function excess(
  config: Pick<RetentionConfig, 'max_rows' | 'max_size'>,
  all: Totals,
  old: Totals,
): Totals {
  const over = (most: number | null, total: number, going: number) =>
    most === null ? 0 : Math.max(0, total - going - most);
  return {
    rows: over(config.max_rows, all.rows, old.rows),
    bytes: over(config.max_size, all.bytes, old.bytes),
  };
}
