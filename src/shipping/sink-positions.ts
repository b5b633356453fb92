import type { AuditEvent, SourceName } from '../audit/event.js';
import type { EventsFilter } from '../config/schema.js';
import type { Corrections, ResumePosition } from '../sinks/sink.js';
import { fingerprintOf } from '../source/event-id.js';
import { whyRejected } from './event-filter.js';
import type { Feed, FeedPage } from './source-feed.js';
import type { State } from './state.js';

/** Where a sink stands in one source. */
export interface SinkPosition {
  timeline: number;
  /** The cursor. */
  upTo: number;
  /** Rows up to here were there before the sink was first started: recorded, not delivered. */
  skipTo: number;
  /** Rows that `open` found at the destination though the cursor does not know: event ids by row id. */
  readonly recovered: Map<number, string>;
  /** When it last had everything, ms since the epoch. */
  caughtUpAt: number;
}

/** What `status` says of a sink's places. */
export interface SinkLag {
  readonly cursors: Readonly<Record<string, { timeline: number; id: number }>>;
  /** Per source the lowest row id of the current timeline that must stay in the table for this sink. */
  readonly held_from: Readonly<Record<string, number>>;
  readonly lag_events: number;
  readonly lag_seconds: number;
}

export interface SinkPositionsOptions {
  readonly sink: string;
  readonly state: State;
  readonly start: 'beginning' | 'now';
  readonly events: EventsFilter | undefined;
  readonly clock: () => number;
}

/** One sink's places in all sources, and which rows of a page it has still to get. */
export class SinkPositions {
  private readonly places = new Map<SourceName, SinkPosition>();

  private readonly since: number;

  constructor(private readonly options: SinkPositionsOptions) {
    this.since = options.clock();
  }

  get(source: SourceName): SinkPosition | undefined {
    return this.places.get(source);
  }

  /** To be called before `settle`, outside of a transaction, for a sink that was never opened with this state.db. */
  continueAfter(feed: Feed, resume: Corrections | null): void {
    feed.continueAt(Math.max(0, ...shownOf(feed, resume).map(({ timeline }) => timeline)));
  }

  /**
   * Finds the place in a source: from the cursor, from what the destination shows, or from `start`. Inside a transaction.
   *
   * @param first the sink was never opened with this state.db
   */
  restoreFrom(feed: Feed, resume: Corrections | null, first: boolean): void {
    const { sink, state, clock } = this.options;
    const { cursors, fingerprints } = state;
    const shown = shownOf(feed, resume);
    const timeline = feed.mark.timeline;
    const found = new Map<number, string>();
    let skipTo = 0;
    for (const at of shown) {
      const cursor = cursors.position(sink, feed.name, at.timeline) ?? 0;
      if (at.upTo < cursor) {
        cursors.moveBack(sink, feed.name, at.timeline, at.upTo);
      } else if (at.timeline === timeline) {
        for (const [id, eventId] of at.found) if (id > cursor) found.set(id, eventId);
        if (at.found.length === 0) skipTo = at.upTo;
      } else if (at.upTo > cursor) {
        const known = fingerprints.last(feed.name, at.timeline);
        const rows = at.found.filter(([id]) => id > known).map(([sequence, id]) => ({ sequence, id }));
        fingerprints.record(feed.name, at.timeline, rows);
        cursors.set(sink, feed.name, at.timeline, at.upTo);
      }
    }
    const start = cursors.start(sink, feed.name);
    if (skipTo > 0 && first) cursors.setStart(sink, feed.name, { timeline, skipTo });
    else if (start?.timeline === timeline) skipTo = start.skipTo;
    const upTo = cursors.position(sink, feed.name, timeline) ?? 0;
    const caughtUpAt = this.places.get(feed.name)?.caughtUpAt ?? clock();
    this.places.set(feed.name, { timeline, upTo, skipTo, recovered: found, caughtUpAt });
  }

  /** While another one ships in this one's place: the cursors are moved in the state alone (fleet/standby-positions.ts). */
  reread(): void {
    const { sink, state } = this.options;
    for (const [source, place] of this.places)
      place.upTo = Math.max(place.upTo, state.cursors.position(sink, source, place.timeline) ?? 0);
  }

  /**
   * The place from which to read on; null while it can't be known: a sink that starts `now` has to see first what is
   * there. Turns to the feed's timeline where another has begun.
   */
  at(feed: Feed): SinkPosition | null {
    const place = this.places.get(feed.name);
    if (place === undefined || !this.fixStartPosition(feed)) return null;
    if (place.timeline !== feed.mark.timeline) this.switchTimeline(feed, place);
    return place;
  }

  /** The rows of a page that the sink has still to get. */
  wanted(place: SinkPosition, source: SourceName, page: FeedPage): AuditEvent[] {
    const { state, sink, events } = this.options;
    const first = page.events[0]?.sequence ?? 0;
    const had = state.deliveredEarlier(sink, source, page.timeline, first, page.upTo);
    const plain = place.recovered.size === 0 && had === null;
    return page.events.filter((event) => {
      if (event.sequence <= place.upTo || event.sequence <= place.skipTo) return false;
      if (event.revisionOf !== null && !state.revisions.isFor(sink, event.sequence)) return false;
      if (!plain) {
        if (place.recovered.get(event.sequence) === event.id) return false;
        if (had?.has(fingerprintOf(event.id)) === true) return false;
      }
      return whyRejected(events, event) === null;
    });
  }

  /** @param undelivered rows that the sink may have to be given again */
  lag(feeds: readonly Feed[], undelivered: readonly ResumePosition[]): SinkLag {
    const now = this.options.clock();
    let lagEvents = 0;
    let lagSeconds = 0;
    const cursors: Record<string, { timeline: number; id: number }> = {};
    for (const feed of feeds) {
      const { timeline, upTo, caughtUpAt } = this.places.get(feed.name) ?? this.known(feed);
      cursors[feed.name] = { timeline, id: upTo };
      const behind = Math.max(0, Math.max(feed.status.maxId, feed.mark.id) - upTo);
      lagEvents += behind;
      if (behind > 0) lagSeconds = Math.max(lagSeconds, (now - caughtUpAt) / 1000);
    }
    return {
      cursors,
      held_from: Object.fromEntries(feeds.map((feed) => [feed.name, this.heldFrom(feed, undelivered)])),
      lag_events: lagEvents,
      lag_seconds: Math.round(lagSeconds * 10) / 10,
    };
  }

  /** Of a sink that has not been opened since the start: what the state knows of it. That it lags is never told later than this start. */
  private known(feed: Feed): Pick<SinkPosition, 'timeline' | 'upTo' | 'caughtUpAt'> {
    const { sink, state } = this.options;
    const { timeline } = feed.mark;
    const start = state.cursors.start(sink, feed.name);
    const skipTo = start?.timeline === timeline ? start.skipTo : 0;
    const upTo = Math.max(state.cursors.position(sink, feed.name, timeline) ?? 0, skipTo);
    return { timeline, upTo, caughtUpAt: this.since };
  }

  /**
   * The lowest row id of the source's table, as it is now, that must stay there for this sink: it was not delivered, may have to be
   * given again (`undelivered`, the sink's own), or was never recorded.
   */
  private heldFrom(feed: Feed, undelivered: readonly ResumePosition[]): number {
    const { sink, state } = this.options;
    const { timeline, id: mark } = feed.mark;
    const place = this.places.get(feed.name);
    const start = state.cursors.start(sink, feed.name);
    const skipTo = start?.timeline === timeline ? start.skipTo : 0;
    const cursor =
      place?.timeline === timeline ? place.upTo : state.cursors.position(sink, feed.name, timeline);
    let upTo = Math.min(mark, Math.max(cursor ?? 0, skipTo));
    for (const at of undelivered) {
      if (at.source !== feed.name || at.timeline > timeline) continue;
      upTo = Math.min(upTo, at.timeline === timeline ? at.upTo : 0); // an earlier one's rows: this table is walked again
    }
    return upTo + 1;
  }

  /**
   * Notes where a sink that starts `now` begins: behind what is there at the first look, whether the sink can be opened by then or
   * not; with the first row of a table that is not there yet. False while that can't be seen.
   */
  fixStartPosition(feed: Feed): boolean {
    const { sink, state, start } = this.options;
    if (start !== 'now' || state.cursors.start(sink, feed.name) !== null) return true;
    if (feed.status.lastLook === 0) feed.wake();
    const { state: found, maxId } = feed.status;
    // Not made yet: all that comes is new, its first rows too, which come with it.
    const nothing = found === 'missing' || found === 'no_table';
    if (!nothing && found !== 'reading' && found !== 'stopped') return false;
    const { timeline, id: mark } = feed.mark;
    const skipTo = nothing ? 0 : Math.max(maxId, mark);
    state.transaction(() => state.cursors.setStart(sink, feed.name, { timeline, skipTo }));
    const place = this.places.get(feed.name);
    if (place?.timeline === timeline) place.skipTo = skipTo;
    return true;
  }

  /** Another history began: the sink goes through it from its lowest id; what it had is left out by fingerprint. */
  private switchTimeline(feed: Feed, place: SinkPosition): void {
    const { sink, state } = this.options;
    const old = place.timeline;
    const last = Math.max(0, ...place.recovered.keys());
    if (last > 0) {
      state.transaction(() => {
        // Lines found at the destination whose rows were never read again: they count as delivered.
        const known = state.fingerprints.last(feed.name, old);
        const rows = [...place.recovered]
          .filter(([id]) => id > known)
          .map(([sequence, id]) => ({ sequence, id }));
        state.fingerprints.record(feed.name, old, rows);
        state.cursors.set(sink, feed.name, old, Math.max(last, place.upTo));
      });
    }
    place.recovered.clear();
    place.timeline = feed.mark.timeline;
    place.upTo = state.cursors.position(sink, feed.name, place.timeline) ?? 0;
    place.skipTo = 0;
  }
}

function shownOf(feed: Feed, resume: Corrections | null): readonly ResumePosition[] {
  return resume?.positions.filter((position) => position.source === feed.name) ?? [];
}
