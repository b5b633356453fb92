/** A range of ids, both ends included. */
export interface TimedIdRange {
  readonly lowest: number;
  readonly highest: number;
  /** Whether all its rows are known to be within the filter's range of time. */
  readonly isInTime?: boolean;
}

/** Finds the first range with ids below `id`: its index, and its upper end, exclusive. Null if there is none. @param ranges the newest first */
export function below(
  ranges: readonly TimedIdRange[],
  id: number,
  from = 0,
): { readonly at: number; readonly before: number } | null {
  for (let at = from; at < ranges.length; at++) {
    const range = ranges[at];
    if (range !== undefined && range.lowest < id) return { at, before: Math.min(id, range.highest + 1) };
  }
  return null;
}

/** The lowest id of all ranges; a number above all ids if there is no range. */
export function lowestOf(ranges: readonly TimedIdRange[]): number {
  return ranges.at(-1)?.lowest ?? Number.MAX_SAFE_INTEGER;
}

/** The parts of the ranges at or below an id. */
export function upTo(ranges: readonly TimedIdRange[], id: number): TimedIdRange[] {
  return ranges.flatMap((range) =>
    range.lowest > id ? [] : [{ ...range, highest: Math.min(range.highest, id) }],
  );
}
