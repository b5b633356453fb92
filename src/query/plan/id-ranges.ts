/** Ids from one to another, both included. */
export interface TimedIdRange {
  readonly lowest: number;
  readonly highest: number;
  /** Whether all rows of it are known to stand in the filter's range of time. */
  readonly isInTime?: boolean;
}

/** The part of them that has ids below one, as its index and its upper end (which is not included); null if there is none. `ranges`: the newest first. */
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

/** The lowest id of all; one above all ids where there is none. */
export function lowestOf(ranges: readonly TimedIdRange[]): number {
  return ranges.at(-1)?.lowest ?? Number.MAX_SAFE_INTEGER;
}

/** The part of them that stands at or below an id. */
export function upTo(ranges: readonly TimedIdRange[], id: number): TimedIdRange[] {
  return ranges.flatMap((range) =>
    range.lowest > id ? [] : [{ ...range, highest: Math.min(range.highest, id) }],
  );
}
