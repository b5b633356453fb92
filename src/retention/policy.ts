import type { RetentionConfig } from '../config/schema.js';

/** Ages by category, milliseconds; null is for ever. */
export type Keep = RetentionConfig['keep'];

/** From when ages are counted. */
export interface Moment {
  /** The system's clock, ms since the epoch. */
  readonly clock: number;
  /** The earlier of the clock and the time of the newest row; null where no row has a readable time. */
  readonly reference: number | null;
}

/** What is judged of a row. `time` is as we parse it, null where it can't be read. */
export interface TimeAndCategory {
  readonly time: number | null;
  readonly category: string;
}

/** Before this nobody ran a Postern: such a time is a default of 0, or that of a machine that had not got its time yet. */
const EARLIEST = Date.UTC(2001, 0, 1);

/**
 * No row goes before it is a day old, whatever `keep`, `max_rows` and `max_size` say. The purge holds to that by itself: what has
 * just happened stays in the table for a day, also when somebody has taken the daemon over, and for receivers to fetch.
 */
const LEAST_AGE_MS = 86_400_000;

/**
 * `old`: may go. All others stay: `undated` and `future` always, `forever` because its category is named so, `young` until
 * it is older, or until the table is too large.
 */
export type Eligibility = 'old' | 'young' | 'forever' | 'undated' | 'future';

/**
 * @param newest the time of the row with the highest id among those with a readable one
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

/** May it go because the table is too large? A category that is named as kept for ever may not; the default may. */
export function mayGoEarly(fate: Eligibility, time: number | null, { reference }: Moment): boolean {
  return fate === 'young' && time !== null && reference !== null && reference - time >= LEAST_AGE_MS;
}

/** Own keys only: a category is a word of the table's. */
function ageOf(keep: Keep, category: string): number | null | undefined {
  if (category === 'default' || !Object.hasOwn(keep, category)) return undefined;
  return keep[category as keyof Keep];
}

export interface Totals {
  readonly rows: number;
  /** Bytes in the columns of all of them. */
  readonly bytes: number;
}

/** How much has to go besides what is old. */
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
