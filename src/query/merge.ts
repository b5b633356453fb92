import type { Strand } from './strand.js';
import type { Found } from './walk.js';

/** Rows behind the first of a table that are looked at for what time it is there. */
export const LOOKAHEAD = 8;

/**
 * Which of several sequences comes next. In a table rows are in the order of their ids, which is that of the commits, whatever
 * their clocks said. Between tables the later time comes first, and `postern` where it is the same. The time of a place
 * is the latest of its row and the next few, so that one row that is far in the past holds up no table; a place at
 * which no time can be read comes at once.
 */
export function nextOf(queues: ReadonlyArray<readonly Pick<Found, 'time'>[]>): number {
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

function timeOf(queue: readonly Pick<Found, 'time'>[]): number {
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
    private readonly walks: readonly Strand[],
    private readonly step: (walk: Strand, wanted: number) => void,
  ) {
    this.places = walks.map(() => 0);
  }

  /** The next row; null at the end. `wanted`: about how many more will be asked for. */
  next(wanted: number): Found | null {
    const least = this.walks.length > 1 ? LOOKAHEAD : 1;
    for (const [at, walk] of this.walks.entries()) {
      if (walk.done || walk.queue.length - (this.places[at] ?? 0) >= least) continue;
      walk.queue = walk.queue.slice(this.places[at]);
      this.places[at] = 0;
      // One queue that ran dry does not make the others longer than they must be.
      while (!walk.done && walk.queue.length < least) this.step(walk, wanted + least);
    }
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

function ahead(walk: Strand, place = 0): readonly Found[] {
  return walk.queue.slice(place, place + LOOKAHEAD);
}
