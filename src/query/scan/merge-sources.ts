import type { RowCursor } from '../archives/table-with-archives.js';
import type { MatchedRow } from './table-scan.js';

/** Rows of a table whose times are compared to find the time of its next row. */
export const LOOKAHEAD = 8;

/**
 * Decides which of several sequences has the next row. Within a table, rows keep the order of their ids, which is the order of commits even if
 * clocks were wrong. Between tables, the later time is first, and `postern` for equal times. The time of a sequence is the latest of its next
 * few rows, so that one row far in the past does not hold up its table. A sequence without a readable time is first.
 */
export function nextOf(queues: ReadonlyArray<readonly Pick<MatchedRow, 'time'>[]>): number {
  let best = -1;
  let latest = Number.NEGATIVE_INFINITY;
  for (const [at, queue] of queues.entries()) {
    if (queue.length === 0) continue;
    const time = timeOf(queue);
    if (best === -1 || time > latest) {
      best = at;
      latest = time;
    }
  }
  return best;
}

function timeOf(queue: readonly Pick<MatchedRow, 'time'>[]): number {
  let latest: number | null = null;
  for (let at = 0; at < LOOKAHEAD && at < queue.length; at++) {
    const time = queue[at]?.time ?? null;
    if (time !== null && (latest === null || time > latest)) latest = time;
  }
  return latest ?? Number.POSITIVE_INFINITY;
}

/** Merges the scans of all sources into one sequence, the newest row first. */
export class Merge {
  private readonly places: number[];

  /** @param step runs one step of a scan */
  constructor(
    private readonly walks: readonly RowCursor[],
    private readonly step: (walk: RowCursor, wanted: number) => void,
  ) {
    this.places = walks.map(() => 0);
  }

  /** The next row; null at the end. @param wanted about how many more rows are needed */
  next(wanted: number): MatchedRow | null {
    // Only the scan whose queue is too short reads on.
    for (let dry = this.dry(); dry !== null; dry = this.dry()) this.step(dry, wanted + LOOKAHEAD);
    return this.take();
  }

  /** A scan that must read on before the next row is known; null if there is none. */
  dry(): RowCursor | null {
    const least = this.walks.length > 1 ? LOOKAHEAD : 1;
    for (let at = 0; at < this.walks.length; at++) {
      const walk = this.walks[at];
      const place = this.places[at] ?? 0;
      if (walk === undefined || walk.done || walk.queue.length - place >= least) continue;
      walk.queue = place === 0 ? walk.queue : walk.queue.slice(place);
      this.places[at] = 0;
      if (walk.queue.length < least) return walk;
    }
    return null;
  }

  /** The next row, if no scan is dry; null at the end. */
  take(): MatchedRow | null {
    const best =
      this.walks.length === 1 ? 0 : nextOf(this.walks.map((walk, at) => ahead(walk, this.places[at])));
    const walk = this.walks[best];
    if (walk === undefined) return null;
    const at = this.places[best] ?? 0;
    const found = walk.queue[at];
    if (found === undefined) return null;
    this.places[best] = at + 1;
    return found;
  }
}

function ahead(walk: RowCursor, place = 0): readonly MatchedRow[] {
  return walk.queue.slice(place, place + LOOKAHEAD);
}
