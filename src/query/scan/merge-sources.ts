import type { RowCursor } from '../archives/table-with-archives.js';
import type { MatchedRow } from './table-scan.js';

/** Rows behind the first of a table that are looked at for what time it is there. */
export const LOOKAHEAD = 8;

/**
 * Which of several sequences comes next. In a table rows are in the order of their ids, which is that of the commits, whatever
 * their clocks said. Between tables the later time comes first, and `postern` where it is the same. The time of a place
 * is the latest of its row and the next few, so that one row that is far in the past holds up no table; a place at
 * which no time can be read comes at once.
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

/** The walks of all sources as one, the newest first. */
export class Merge {
  private readonly places: number[];

  /** @param step makes one step of a walk */
  constructor(
    private readonly walks: readonly RowCursor[],
    private readonly step: (walk: RowCursor, wanted: number) => void,
  ) {
    this.places = walks.map(() => 0);
  }

  /** The next row; null at the end. `wanted`: about how many more will be asked for. */
  next(wanted: number): MatchedRow | null {
    // One queue that ran dry does not make the others longer than they must be.
    for (let dry = this.dry(); dry !== null; dry = this.dry()) this.step(dry, wanted + LOOKAHEAD);
    return this.take();
  }

  /** Who has to be read on before anything can be said; null: nobody. */
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

  /** The next row, when nobody is dry; null at the end. */
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
