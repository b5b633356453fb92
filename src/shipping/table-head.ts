import type { AuditEvent, SourceName } from '../audit/event.js';
import { NEWEST_MS, OLDEST_MS } from '../sinks/files/ban-eligibility.js';
import { fingerprintOf } from '../source/event-id.js';
import type { AuditSource, HighWaterMark, ReadRequest, ReadResult } from '../source/source.js';

/** Rows and bytes of one page: some 10 ms of the thread. */
const PAGE_ROWS = 1_000;
const PAGE_BYTES = 2 * 2 ** 20;
/** Reading down ends when so many rows in a row, or so many pages of long rows, have no fresh one. */
const STALE_ROWS = 200;
const STALE_PAGES = 8;
/** So long a sink may still know rows of before the highest id fell: a failure is fresh for 50 s. */
const REUSED_MS = 60_000;

/** Rows above `from` and up to `to` that have not been read. */
interface Gap {
  readonly from: number;
  to: number;
  /** Of an opening: below what was there first. Ends as soon as nothing is fresh, and nothing withheld in it counts. */
  readonly opening: boolean;
  staleRows: number;
  stalePages: number;
}

/** Rows to be given to the sink, and what to do when it has them. */
export interface HeadPage {
  readonly events: readonly AuditEvent[];
  /** What is withheld of them does not count: they were there before. */
  readonly uncounted: boolean;
  /** Ids have begun to be used again: a row with the id of an earlier one may be another failure. */
  readonly idsReused: boolean;
  /** To be called when the sink has them; until then they come again. */
  done(): void;
}

/** What `status` says of a head. */
export interface HeadStatus {
  readonly timeline: number;
  /** The highest row that was read. Every row below it that is newer than the opening was read too, or is `left`. */
  readonly id: number;
  /** When the table could last be read, ms since the epoch; 0: never. */
  readonly at: number;
  /** Upper bound of rows below `id` that are still to be read, the newest of them first. */
  readonly left: number;
}

/**
 * The newest rows of one source, the newest of them first, for a sink that wants what is fresh and nothing else.
 *
 * OPENING. Pages are read down from the highest id until one has no fresh row (younger than 50 s). Also when the highest id has fallen,
 * when the row at the head is not the one that was read, or when the feed has begun another timeline.
 * FOLLOWING. Rows above the head are read in pages. If there are more than fit in one (a bulk insert, a sink that was down), the
 * head jumps to the highest row, and the rows in between are a gap. It is read down from its top, one page after each read at the head.
 */
export class TableHead {
  readonly name: SourceName;
  private head: HighWaterMark | null = null;
  private gaps: Gap[] = [];
  private lookedAt = 0;
  private clean = false;
  /** When the highest id was last found to have fallen, or the row at the head to be another; of a clock that never goes back. */
  private fellAt = Number.NEGATIVE_INFINITY;

  /** @param timeline the feed's */
  constructor(
    private readonly source: AuditSource,
    private readonly timeline: () => number,
    private readonly clock: () => number,
  ) {
    this.name = source.name;
  }

  /** False if the last read could not see everything: a lock, a database that is not there. */
  get sawAll(): boolean {
    return this.clean;
  }

  get busy(): boolean {
    return this.gaps.length > 0;
  }

  get status(): HeadStatus {
    const left = this.gaps.reduce((sum, { from, to, opening }) => sum + (opening ? 0 : to - from), 0);
    return { timeline: this.timeline(), id: this.head?.id ?? 0, at: this.lookedAt, left };
  }

  /** New rows above the head; null if there are none, or the table can't be read. */
  next(): HeadPage | null {
    const timeline = this.timeline();
    if (this.head === null || this.head.timeline !== timeline) return this.open(timeline);
    const mark = this.head;
    const found = this.read({ mark, after: mark.id });
    if (found === null) return null;
    if (found.state === 'replaced' || found.maxId < mark.id) {
      // The feed reads after this, so it may not have begun another timeline yet.
      this.fellAt = performance.now();
      return this.open(timeline);
    }
    if (found.events.length === 0) {
      this.clean = !found.more;
      return null;
    }
    return found.more
      ? this.jump(mark)
      : this.page(found.events, false, () => this.moveTo(timeline, found.events));
  }

  /** A page of the newest gap; null if there is none. */
  below(): HeadPage | null {
    const gap = this.gaps.at(-1);
    if (gap === undefined || this.head === null) return null;
    const found = this.read({ mark: this.head, after: gap.from, before: gap.to + 1 });
    if (found === null || found.state === 'replaced') return null; // the next read at the head reports it
    const { events, more } = found;
    const [first] = events;
    if (first === undefined && more) return null;
    return this.page(events, gap.opening, () => {
      gap.to = (first?.sequence ?? 0) - 1;
      const isStale = !events.some((event) => this.isFresh(event));
      gap.staleRows = isStale ? gap.staleRows + events.length : 0;
      gap.stalePages = isStale ? gap.stalePages + 1 : 0;
      const isOver = gap.opening && (gap.staleRows >= STALE_ROWS || gap.stalePages >= STALE_PAGES);
      if (!more || gap.to <= gap.from || isOver) this.gaps = this.gaps.filter((other) => other !== gap);
    });
  }

  /** Finds the head again; fresh rows below it are still to be read. */
  private open(timeline: number): HeadPage | null {
    this.head = null;
    this.gaps = [];
    const mark = { timeline, id: 0, fingerprint: null };
    const found = this.read({ mark, after: 0, before: Number.MAX_SAFE_INTEGER });
    if (found === null || found.state === 'replaced') return null;
    const { events, more, maxId } = found;
    const [first] = events;
    if (first === undefined) {
      this.clean = maxId === 0 && !more;
      if (this.clean) this.head = mark; // an empty table: all that comes is new
      return null;
    }
    const isFresh = events.some((event) => this.isFresh(event));
    const isOver = !isFresh && events.length >= STALE_ROWS;
    return this.page(events, true, () => {
      this.moveTo(timeline, events);
      if (more && !isOver) this.leave(0, first.sequence - 1, true);
    });
  }

  /** There are more new rows than one page has: the newest first. */
  private jump(mark: HighWaterMark): HeadPage | null {
    const found = this.read({ mark, after: mark.id, before: Number.MAX_SAFE_INTEGER });
    if (found === null || found.state === 'replaced') return null;
    const { events } = found;
    const [first] = events;
    if (first === undefined) return null;
    return this.page(events, false, () => {
      this.moveTo(mark.timeline, events);
      this.leave(mark.id, first.sequence - 1, false);
    });
  }

  private page(events: readonly AuditEvent[], uncounted: boolean, done: () => void): HeadPage {
    this.clean = false; // there may be more
    const idsReused = performance.now() - this.fellAt < REUSED_MS;
    return { events, uncounted, idsReused, done };
  }

  private moveTo(timeline: number, events: readonly AuditEvent[]): void {
    const last = events.at(-1);
    if (last !== undefined) this.head = { timeline, id: last.sequence, fingerprint: fingerprintOf(last.id) };
  }

  private leave(from: number, to: number, opening: boolean): void {
    if (to > from) this.gaps.push({ from, to, opening, staleRows: 0, stalePages: 0 });
  }

  private isFresh({ time }: AuditEvent): boolean {
    const now = this.clock();
    return time !== null && time >= now - OLDEST_MS && time <= now + NEWEST_MS;
  }

  private read(
    request: Pick<ReadRequest, 'mark' | 'after' | 'before'>,
  ): Extract<ReadResult, { state: 'reading' | 'replaced' }> | null {
    this.clean = false;
    const found = this.source.read({ ...request, head: true, maxRows: PAGE_ROWS, maxBytes: PAGE_BYTES });
    if (found.state !== 'reading' && found.state !== 'replaced') return null;
    this.lookedAt = this.clock();
    return found;
  }
}
