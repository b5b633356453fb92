/** Ids from one to another, both meant. */
export type IdRange = readonly [first: number, last: number];

/** @param ids ascending */
export function rangesOf(ids: Iterable<number>): IdRange[] {
  const ranges: Array<[number, number]> = [];
  for (const id of ids) {
    const open = ranges.at(-1);
    if (open !== undefined && id === open[1] + 1) open[1] = id;
    else ranges.push([id, id]);
  }
  return ranges;
}

export function countOf(ranges: readonly IdRange[]): number {
  return ranges.reduce((count, [first, last]) => count + last - first + 1, 0);
}

/** So many ranges of ids are named. */
export const NAMED = 50;

/** `4, 7 to 9` */
export function rangesText(ranges: readonly IdRange[]): string {
  const shown = ranges
    .slice(0, NAMED)
    .map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`));
  const more = ranges.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more ranges` : '');
}
