import type { SourceName } from '../audit/event.js';
import type { SinkRows } from '../sinks/deliver-rows.js';
import { MessageMemory, selectMessages } from '../sinks/messages.js';
import type { Corrections, ResumePosition } from '../sinks/sink.js';
import { fingerprintOf } from '../source/event-id.js';
import { whyRejected } from './event-filter.js';
import type { SinkInput } from './page-collector.js';
import type { FeedPage } from './shared-pages.js';
import type { Feed } from './source-feed.js';
import type { State } from './state.js';

/** How far a sink has delivered one source. */
export interface SinkPosition {
  timeline: number;
  /** The cursor. */
  upTo: number;
  /** Rows up to here were in the table before the sink was first started: recorded, not delivered. */
  skipTo: number;
  /** Rows of this timeline that `open` found at the destination above the cursor: event ids by row id. */
  readonly recovered: Map<number, string>;
  /** Rows of other timelines found there, by event id: their row ids. Only a state.db from a backup does not know of them. */
  readonly elsewhere: Map<string, number>;
  /** When it last had delivered every row, ms since the epoch. */
  caughtUpAt: number;
}

/** What `status` says of a sink's positions. */
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
  readonly input: SinkInput;
  readonly clock: () => number;
}

/** One sink's positions in all sources, and which rows of a page it still has to get. Reads and writes the state; never reads a table. */
export class SinkPositions {
  private readonly positions = new Map<SourceName, SinkPosition>();
  /** When the daemon started it. */
  private readonly since: number;

  constructor(private readonly options: SinkPositionsOptions) {
    this.since = options.clock();
  }

  get(source: SourceName): SinkPosition | undefined {
    return this.positions.get(source);
  }

  /** To be called before `restoreFrom`, outside of a transaction, for a sink that was never opened with this state.db. */
  continueNumbering(feed: Feed, resume: Corrections | null): void {
    feed.continueAt(Math.max(0, ...shownOf(feed, resume).map(({ timeline }) => timeline)));
  }

  /**
   * Finds the position in a source: from the cursor, from what the destination shows, or from `start`. Inside a transaction.
   *
   * @param first the sink was never opened with this state.db
   */
  restoreFrom(feed: Feed, resume: Corrections | null, first: boolean): void {
    const { sink, state, clock } = this.options;
    const { cursors, fingerprints } = state;
    const shown = shownOf(feed, resume);
    const timeline = feed.mark.timeline;
    const found = new Map<number, string>();
    const elsewhere = new Map<string, number>();
    let skipTo = 0;
    for (const at of shown) {
      if (at.timeline !== timeline) for (const [id, eventId] of at.found) elsewhere.set(eventId, id);
      const cursor = cursors.position(sink, feed.name, at.timeline) ?? 0;
      if (at.upTo < cursor) {
        cursors.moveBack(sink, feed.name, at.timeline, at.upTo);
      } else if (at.timeline === timeline) {
        for (const [id, eventId] of at.found) if (id > cursor) found.set(id, eventId);
        if (at.found.length === 0) skipTo = at.upTo;
      } else if (at.timeline < timeline && at.upTo > cursor) {
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
    const caughtUpAt = this.positions.get(feed.name)?.caughtUpAt ?? clock();
    this.positions.set(feed.name, { timeline, upTo, skipTo, recovered: found, elsewhere, caughtUpAt });
  }

  /** The sink has delivered the rows up to here. After the restore of a backup there may be millions: no batch looks at all of them. */
  forgetRecovered({ recovered, elsewhere }: SinkPosition, upTo: number): void {
    for (const id of recovered.keys()) {
      if (id > upTo) break; // ascending
      recovered.delete(id);
    }
    for (const [eventId, id] of elsewhere) {
      if (id > upTo) break; // those of several timelines in turn: what stays a little longer does no harm
      elsewhere.delete(eventId);
    }
  }

  /** The sink had everything until now: it lags from now on at the earliest. */
  noteCaughtUp(): void {
    const now = this.options.clock();
    for (const position of this.positions.values()) position.caughtUpAt = now;
  }

  /** While another server ships instead, the cursors move in the state alone (fleet/standby-positions.ts). */
  reloadCursors(): void {
    const { sink, state } = this.options;
    for (const [source, position] of this.positions)
      position.upTo = Math.max(position.upTo, state.cursors.position(sink, source, position.timeline) ?? 0);
  }

  /** The position from which to read on. Switches to the feed's timeline where another one has started. */
  current(feed: Feed): SinkPosition | null {
    const position = this.positions.get(feed.name);
    if (position === undefined) return null;
    if (position.timeline !== feed.mark.timeline) this.switchTimeline(feed, position);
    return position;
  }

  /** The rows of a page that the sink still has to get, in the form that it takes. */
  selectRows(position: SinkPosition, page: FeedPage): SinkRows {
    const { key, encoder, filter } = this.options.input;
    const isDue = this.dueIn(position, page);
    if (encoder === null) {
      const events = (page.events ?? []).filter(
        (event) => isDue?.(event.sequence, event.id) !== false && whyRejected(filter, event) === null,
      );
      return { events };
    }
    const messages = page.messages.get(key) ?? new MessageMemory(0).messages([]);
    return { messages: isDue === null ? messages : selectMessages(messages, isDue) };
  }

  /** Which rows of a page the sink has not had; null: none of them. */
  private dueIn(
    position: SinkPosition,
    { source, timeline, first, versions, upTo }: FeedPage,
  ): ((sequence: number, id: string) => boolean) | null {
    const { state, sink } = this.options;
    const had = state.deliveredEarlier(sink, source, timeline, first, upTo);
    const behind = Math.max(position.upTo, position.skipTo);
    const { recovered, elsewhere } = position;
    const hasNone = recovered.size === 0 && elsewhere.size === 0 && had === null && versions.size === 0;
    if (first > behind && hasNone) return null;
    return (sequence, id) => {
      if (sequence <= behind) return false;
      if (versions.has(sequence) && !state.revisions.isFor(sink, sequence)) return false;
      if (recovered.get(sequence) === id || elsewhere.has(id)) return false;
      return had?.has(fingerprintOf(id)) !== true;
    };
  }

  /** @param undelivered rows that the sink may have to be given again */
  lag(feeds: readonly Feed[], undelivered: readonly ResumePosition[]): SinkLag {
    const now = this.options.clock();
    let lagEvents = 0;
    let lagSeconds = 0;
    const cursors: Record<string, { timeline: number; id: number }> = {};
    for (const feed of feeds) {
      const { timeline, upTo, caughtUpAt } = this.positions.get(feed.name) ?? this.saved(feed);
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

  /** The saved position of a sink that has not been opened since the start. Its lag counts from the start at the latest. */
  private saved(feed: Feed): Pick<SinkPosition, 'timeline' | 'upTo' | 'caughtUpAt'> {
    const { sink, state } = this.options;
    const { timeline } = feed.mark;
    const start = state.cursors.start(sink, feed.name);
    const skipTo = start?.timeline === timeline ? start.skipTo : 0;
    const upTo = Math.max(state.cursors.position(sink, feed.name, timeline) ?? 0, skipTo);
    return { timeline, upTo, caughtUpAt: this.since };
  }

  /**
   * The lowest row id that must stay in the source's table for this sink: the row was not delivered, may have to be delivered again
   * (`undelivered`, the sink's own), or was never recorded.
   */
  private heldFrom(feed: Feed, undelivered: readonly ResumePosition[]): number {
    const { sink, state } = this.options;
    const { timeline, id: mark } = feed.mark;
    const position = this.positions.get(feed.name);
    const start = state.cursors.start(sink, feed.name);
    const skipTo = start?.timeline === timeline ? start.skipTo : 0;
    const cursor =
      position?.timeline === timeline ? position.upTo : state.cursors.position(sink, feed.name, timeline);
    let upTo = Math.min(mark, Math.max(cursor ?? 0, skipTo));
    for (const at of undelivered) {
      if (at.source !== feed.name || at.timeline > timeline) continue;
      upTo = Math.min(upTo, at.timeline === timeline ? at.upTo : 0); // rows of an earlier timeline: this table is walked again
    }
    return upTo + 1;
  }

  /** False for a sink that starts `now` and does not know yet which rows were there before it. */
  hasStart({ name }: Feed): boolean {
    const { sink, state, start } = this.options;
    return start !== 'now' || state.cursors.start(sink, name) !== null;
  }

  /**
   * Saves where a sink that starts `now` begins: above what the feed found when it read the table, whether the sink can be opened by
   * then or not. A table that is not there yet has no earlier rows: then with the first row. False if the table can't be read yet.
   */
  saveStart(feed: Feed): boolean {
    const { sink, state } = this.options;
    const { state: found, maxId } = feed.status;
    const isAbsent = found === 'missing' || found === 'no_table';
    if (!isAbsent && found !== 'reading' && found !== 'stopped') return false;
    const { timeline, id: mark } = feed.mark;
    const skipTo = isAbsent ? 0 : Math.max(maxId, mark);
    state.transaction(() => state.cursors.setStart(sink, feed.name, { timeline, skipTo }));
    const position = this.positions.get(feed.name);
    if (position?.timeline === timeline) position.skipTo = skipTo;
    return true;
  }

  /** Another history started: the sink walks it from its lowest id, and leaves out by fingerprint what it has had. */
  private switchTimeline(feed: Feed, position: SinkPosition): void {
    const { sink, state } = this.options;
    const old = position.timeline;
    let last = 0;
    for (const id of position.recovered.keys()) last = Math.max(last, id); // no spread: it fails above 100,000 arguments
    if (last > 0) {
      state.transaction(() => {
        // Lines at the destination whose rows were never read again count as delivered.
        const known = state.fingerprints.last(feed.name, old);
        const rows = [...position.recovered]
          .filter(([id]) => id > known)
          .map(([sequence, id]) => ({ sequence, id }));
        state.fingerprints.record(feed.name, old, rows);
        state.cursors.set(sink, feed.name, old, Math.max(last, position.upTo));
      });
    }
    for (const [id, eventId] of position.recovered) position.elsewhere.set(eventId, id);
    position.recovered.clear();
    position.timeline = feed.mark.timeline;
    position.upTo = state.cursors.position(sink, feed.name, position.timeline) ?? 0;
    position.skipTo = 0;
  }
}

function shownOf(feed: Feed, resume: Corrections | null): readonly ResumePosition[] {
  return resume?.positions.filter((position) => position.source === feed.name) ?? [];
}
