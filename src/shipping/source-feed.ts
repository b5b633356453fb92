import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEvent, SourceName } from '../audit/event.js';
import { type Diagnosis, explained, messageOf } from '../errors.js';
import type { Batch } from '../sinks/sink.js';
import { fingerprintOf } from '../source/event-id.js';
import {
  type AuditSource,
  type HighWaterMark,
  type PageOfRows,
  type WaitingState,
  waiting,
} from '../source/source.js';
import { ticker } from '../ticker.js';
import { EditWatch, type EditWatchOptions } from './edit-watch.js';
import { findLost, type LostRows } from './lost-rows.js';

/**
 * Rows of a page; the limit in bytes keeps a page of 1 MB rows small. Opening, preparing and one transaction per sink cost 2 ms a page:
 * 2 µs a row with pages of 1,000, of the 9 µs that it takes to ship one. A page occupies the thread for about 20 ms.
 */
const PAGE_ROWS = 4_000;
const PAGE_BYTES = 4 * 2 ** 20;
/** Sinks at the same position share a page, and one that is a few pages behind still finds its own. A page that all have passed is dropped. */
const PAGES_KEPT = 4;
/** How often recently read rows are read again. */
const EDITS_MS = 1_000;
/** The pause after a new timeline could not be started, on a full disk for example. */
const RETRY_MS = 1_000;

/** A page of the table, as all sinks share it. With the rows of one sink left in it, it is that sink's `Batch`. */
export type FeedPage = Pick<Batch, 'source' | 'timeline' | 'events' | 'upTo'>;

/** A loop that reads this feed. */
export interface FeedSubscriber {
  wake(): void;
  /** True while it waits for new rows. */
  idle(): boolean;
  /** True while it works through pages, and so reads by itself. */
  delivering(): boolean;
  /** Its cursor in the current timeline of a source; null if it has none there yet. */
  cursor(source: SourceName): number | null;
}

/** What `status` says of a source: `what` and `next` are the message in two parts; an older daemon has not reported them. */
export interface FeedStatus extends Partial<Diagnosis> {
  readonly state: 'starting' | 'reading' | 'stopped' | WaitingState;
  readonly message: string;
  readonly since: number;
  readonly timeline: number;
  readonly mark: number;
  readonly maxId: number;
  readonly lastLook: number;
}

export interface FeedOptions extends EditWatchOptions {
  /** Another history was found behind the path; `lost` are the deleted rows that some sink had not delivered. */
  readonly onReplaced: (timeline: number, reason: string, lost: readonly LostRows[]) => void;
  /** How often recently read rows are read again, ms. */
  readonly editsMs?: number;
  /** Called when edited rows have become rows of the daemon's own table. */
  readonly onRevised?: () => void;
  /** Called once with rows that were just written; not with the backlog of a start or of a restored database. */
  readonly onLive?: (events: readonly AuditEvent[]) => void;
  /** Called when something may have changed, before this feed reads: for loops that follow the head beside it. */
  readonly onWake?: () => void;
}

/** What a feed does. Pages are of the current timeline, so there are none while another one is started. */
type Phase =
  | Reading
  | { readonly name: 'replacing'; readonly started: Promise<void>; readonly abort: AbortController }
  | { readonly name: 'closed' };

interface Reading {
  readonly name: 'reading';
  shared: Array<{ readonly after: number; readonly page: FeedPage }>;
}

/**
 * One source as all sinks see it: reads pages, records the fingerprints of rows that are read for the first time, moves the
 * mark, and starts a new timeline when another history is found behind the path.
 *
 * Invariant: in a timeline every row up to the mark is recorded, and no cursor is above the mark once its
 * transaction is committed. So a sink has had exactly the recorded rows with ids up to its cursor.
 */
export class Feed {
  readonly name: SourceName;
  private markNow: HighWaterMark;
  private phase: Phase = { name: 'reading', shared: [] };
  private readonly subscribers = new Set<FeedSubscriber>();
  private statusNow: FeedStatus;
  /** The replacement that failed and was logged, so that each retry is not logged again. */
  private failedReplacement = '';
  /** Rows up to here were in the table before the daemon first read it: not live. */
  private backlog = { timeline: 0, upTo: 0 };
  private watching: { close(): void } | null = null;
  /** Null: rows of this source do not change. */
  private readonly edits: EditWatch | null;

  constructor(private readonly options: FeedOptions) {
    const { source, state, clock } = options;
    this.name = source.name;
    this.edits = source.edits === undefined ? null : new EditWatch(options);
    this.markNow = state.mark(this.name) ?? state.timelines.begin(this.name, 1, 'first start');
    const now = clock();
    this.statusNow = {
      state: 'starting',
      message: 'not read yet',
      since: now,
      timeline: this.markNow.timeline,
      mark: this.markNow.id,
      maxId: this.markNow.id,
      lastLook: 0,
    };
  }

  get mark(): HighWaterMark {
    return this.markNow;
  }

  get status(): FeedStatus {
    return { ...this.statusNow, timeline: this.markNow.timeline, mark: this.markNow.id };
  }

  /** The table itself, for rows that are read again. */
  get source(): AuditSource {
    return this.options.source;
  }

  /** To be called before anything is read: a feed of the previous configuration may have read on, even into another timeline. */
  reloadMark(): void {
    this.markNow = this.options.state.mark(this.name) ?? this.markNow;
    this.edits?.resume(this.markNow.timeline);
  }

  /** Begins to watch the table. */
  start(): void {
    const { source, onWake, editsMs } = this.options;
    const watcher = source.watch(() => {
      onWake?.();
      return this.readNew();
    });
    const edits =
      this.edits === null ? null : ticker.every(editsMs ?? EDITS_MS, () => this.recordEdits(false));
    this.watching = {
      close: () => {
        watcher.close();
        edits?.close();
      },
    };
  }

  /** Has `subscriber.wake` called at each change of this source: rows, another timeline, the end. */
  subscribe(subscriber: FeedSubscriber): void {
    this.subscribers.add(subscriber);
  }

  /** Continues the numbering of a lost state: the log files say which timeline was the last. Outside of any transaction. */
  continueAt(timeline: number): void {
    if (timeline <= this.markNow.timeline) return;
    this.switchTo(timeline, 'state.db was rebuilt');
    if (this.phase.name === 'reading') this.phase.shared = [];
  }

  /** Resolves when nothing is written any more. A timeline that has not started yet is left to the next process that reads. */
  async close(): Promise<void> {
    const { phase } = this;
    this.phase = { name: 'closed' };
    this.watching?.close();
    this.watching = null;
    this.wakeSubscribers();
    if (phase.name !== 'replacing') return;
    phase.abort.abort();
    await phase.started;
  }

  /** The rows above `after`, from memory or from the table; null if there are none now: `FeedSubscriber.wake` says when to ask again. */
  read(after: number): FeedPage | null {
    const { phase } = this;
    if (phase.name !== 'reading') return null;
    const from = Math.min(after, this.markNow.id);
    return phase.shared.find((shared) => shared.after === from)?.page ?? this.readTable(from, phase);
  }

  /** Reads because something may have changed; true if there are new rows. */
  readNew(): boolean {
    const { phase } = this;
    if (phase.name !== 'reading') return false;
    const isUnread = phase.shared.at(-1)?.page.upTo === this.markNow.id;
    const subscribers = [...this.subscribers];
    if (isUnread && !subscribers.some((subscriber) => subscriber.idle())) {
      this.wakeSubscribers(); // all are busy and read by themselves, but one may have done so just before this change
      if (subscribers.some((subscriber) => subscriber.delivering())) return false;
      // All sinks are down: status and the live view still follow the table. No sink commits meanwhile, so fingerprints would pile up in memory.
      if (!this.flushState()) return false;
    }
    return this.readTable(this.markNow.id, phase) !== null;
  }

  /**
   * True if a loop at `after` would read a page that the others are not ready for: it would be read again for them.
   * A reason to give them a turn, not to wait for them.
   */
  isAheadOfOthers(after: number): boolean {
    if (after < this.markNow.id || this.statusNow.maxId - after < PAGE_ROWS) return false;
    const near = after - PAGES_KEPT * 8 * PAGE_ROWS;
    return [...this.subscribers].some((subscriber) => {
      const at = subscriber.cursor(this.name);
      return at !== null && at < after && at >= near;
    });
  }

  /**
   * The one place in which the table is read for the sinks. The order matters: fingerprints and mark first, then edits, then the sinks.
   * So no sink is given a row before the state knows all that it needs to know of it.
   */
  private readTable(after: number, phase: Reading): FeedPage | null {
    const mark = this.markNow;
    phase.shared = phase.shared.filter(({ page }) => this.isWanted(page));
    const found = this.readRows(mark, after);
    if (found === null) return null;
    const firstNew = found.events.findIndex(({ sequence }) => sequence > mark.id);
    const isKnown = firstNew < 0;
    const known = isKnown ? found.events : found.events.slice(0, firstNew);
    const fresh = isKnown ? [] : found.events.slice(firstNew);
    this.recordFirstRead(mark, fresh, found);

    // A sink that has not had an edited row gets it as it was first, and then each of its versions once.
    const isEdited = found.markEdited === true || this.edits?.hasChanged(mark.timeline, known) === true;
    if (isEdited && !this.recordEdits(true)) return null;
    const page = { source: this.name, timeline: mark.timeline };
    // All rows up to the mark were deleted: a sink lags behind nothing.
    const isGone = found.markDeleted && found.maxId <= after && after < mark.id;
    if (isGone) return { ...page, upTo: mark.id, events: [] };
    if (found.events.length === 0) return null;
    const events =
      this.edits?.asFirstRead(mark.timeline, found.events, isEdited ? found.events : known) ?? found.events;
    if (events === 'again') return null;

    return this.share(phase, after, { ...page, upTo: found.upTo, events }, fresh);
  }

  /** Opens, reads and closes the database; null if there is nothing to be read now. */
  private readRows(mark: HighWaterMark, after: number): PageOfRows | null {
    const result = this.tryToRead(mark, after);
    if (result.state === 'replaced') {
      this.replace(result.reason);
      return null;
    }
    if (result.state !== 'reading') {
      this.setStatus(result.state, result.what, this.statusNow.maxId, result.next);
      return null;
    }
    if (result.postern === 'running') this.setStatus('reading', 'reading', result.maxId);
    else this.setStatus('stopped', 'Postern is stopped; its last rows have been read', result.maxId);
    return result;
  }

  private tryToRead(mark: HighWaterMark, after: number): ReturnType<AuditSource['read']> {
    try {
      return this.options.source.read({ mark, after, maxRows: PAGE_ROWS, maxBytes: PAGE_BYTES });
    } catch (error) {
      // A source maps every error it knows. Anything else is a defect, reported and retried like any other state.
      return waiting('failed', `reading failed: ${messageOf(error)}; trying again`);
    }
  }

  /** Records rows that are read for the first time, and moves the mark. */
  private recordFirstRead(mark: HighWaterMark, fresh: readonly AuditEvent[], found: PageOfRows): void {
    const isRestored = mark.id === 0 && found.maxId > PAGE_ROWS; // a backup, into a table that was empty
    if (this.backlog.timeline !== mark.timeline || isRestored)
      this.backlog = { timeline: mark.timeline, upTo: backlogOf(mark, found.maxId) };
    const last = fresh.at(-1);
    if (last === undefined) return;
    const { state } = this.options;
    state.fingerprints.record(this.name, mark.timeline, fresh);
    if (this.edits !== null) state.recent.record(this.name, mark.timeline, fresh, found.more);
    this.markNow = { timeline: mark.timeline, id: last.sequence, fingerprint: fingerprintOf(last.id) };
  }

  /** Keeps the page for other sinks at this position, wakes the sinks, and shows new rows live. */
  private share(phase: Reading, after: number, page: FeedPage, fresh: readonly AuditEvent[]): FeedPage {
    phase.shared.push({ after, page });
    if (phase.shared.length > PAGES_KEPT) phase.shared.shift();
    const last = fresh.at(-1);
    if (last === undefined) return page;
    this.wakeSubscribers(); // a sink that has read to the end already may be asleep
    if (last.sequence > this.backlog.upTo)
      this.options.onLive?.(fresh.filter(({ sequence }) => sequence > this.backlog.upTo));
    return page;
  }

  /** Writes the fingerprints that are in memory; false if the state does not take them. */
  private flushState(): boolean {
    try {
      this.options.state.transaction(() => undefined);
      return true;
    } catch {
      return false; // a full disk, which the sinks report
    }
  }

  private wakeSubscribers(): void {
    for (const subscriber of this.subscribers) subscriber.wake();
  }

  /** Whether a sink still has to read this page. */
  private isWanted({ upTo }: FeedPage): boolean {
    return [...this.subscribers].some((subscriber) => {
      const at = subscriber.cursor(this.name);
      return at !== null && at < upTo;
    });
  }

  /** @returns false where the edits could not be recorded, or another history was found */
  private recordEdits(isKnown: boolean): boolean {
    if (this.edits === null || this.phase.name !== 'reading') return false;
    const found = this.edits.record(this.markNow, isKnown);
    if (found === null || found === 'unrecorded') return found === null;
    if ('replaced' in found) {
      this.replace(found.replaced);
      return false;
    }
    this.markNow = found.mark;
    if (found.versions > 0) this.options.onRevised?.();
    return true;
  }

  private setStatus(state: FeedStatus['state'], what: string, maxId: number, next: string | null = null) {
    const message = explained(what, next);
    const now = this.options.clock();
    const before = this.statusNow;
    const same = before.state === state && before.message === message;
    const since = same ? before.since : now;
    this.statusNow = { ...before, state, message, what, next, maxId, since, lastLook: now };
    if (same || (before.state === 'starting' && state === 'reading')) return;
    const isWaiting = state !== 'reading' && state !== 'stopped';
    this.options.log[isWaiting ? 'warn' : 'info'](
      { source: this.name, state },
      `source ${this.name}: ${message}`,
    );
  }

  private replace(reason: string): void {
    const { timeline } = this.markNow;
    const replacement = `${timeline} ${reason}`;
    if (this.failedReplacement !== replacement) {
      this.options.log.warn(
        { source: this.name, timeline: timeline + 1, reason },
        `another database history: ${reason}`,
      );
    }
    const abort = new AbortController();
    const started = this.startTimeline(timeline + 1, reason, abort.signal)
      .catch(async (error: unknown) => {
        this.failedReplacement = replacement;
        const what = `starting timeline ${timeline + 1} failed: ${messageOf(error)}`;
        this.setStatus('failed', `${what}; trying again`, 0);
        await sleep(RETRY_MS, undefined, { signal: abort.signal }).catch(() => undefined);
      })
      .finally(() => {
        if (this.phase.name === 'replacing') this.phase = { name: 'reading', shared: [] };
        this.wakeSubscribers();
      });
    this.phase = { name: 'replacing', started, abort };
  }

  private async startTimeline(timeline: number, reason: string, signal: AbortSignal): Promise<void> {
    const { state, source, sinks, onReplaced } = this.options;
    state.transaction(() => undefined); // what is only in memory of the old timeline is written first
    const lost = await findLost(source, state, this.markNow, sinks(), signal);
    if (signal.aborted) return;
    this.switchTo(timeline, reason);
    onReplaced(timeline, reason, lost);
  }

  /** The state first: if its commit fails, the feed stays where it was. */
  private switchTo(timeline: number, reason: string): void {
    const { state } = this.options;
    this.markNow = state.transaction(() => {
      state.revisions.forget(this.name, timeline, 0);
      return state.timelines.begin(this.name, timeline, reason);
    });
  }
}

/** What is not live at a first read. The rows of a short absence (a reload) still are. */
function backlogOf(mark: HighWaterMark, maxId: number): number {
  return mark.id === 0 || maxId - mark.id > PAGE_ROWS ? maxId : mark.id;
}
