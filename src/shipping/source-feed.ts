import { setTimeout as sleep } from 'node:timers/promises';
import type { SourceName } from '../audit/event.js';
import { messageOf } from '../errors.js';
import { MemoryPool } from '../sinks/messages.js';
import { fingerprintOf } from '../source/event-id.js';
import {
  type AuditSource,
  type HighWaterMark,
  type PageOfRows,
  type RowConsumer,
  tryToRead,
} from '../source/source.js';
import { ticker } from '../ticker.js';
import { EditWatch } from './edit-watch.js';
import type { FeedOptions } from './feed-options.js';
import { FeedState, type FeedStatus } from './feed-status.js';
import type { FingerprintRun } from './fingerprints.js';
import { LiveRows } from './live-rows.js';
import { findLost } from './lost-rows.js';
import { type CollectedRows, messagesOf, NO_ROWS, PageCollector, type SinkInput } from './page-collector.js';
import { type FeedPage, PAGE_BYTES, PAGE_ROWS, pageOf, SharedPages } from './shared-pages.js';
import { type FeedSubscriber, Subscribers } from './subscribers.js';

/** How often recently read rows are read again. */
const EDITS_MS = 1_000;
/** The pause after a new timeline could not be started, on a full disk for example. */
const RETRY_MS = 1_000;

/** What a feed does. Pages are of the current timeline, so there are none while another one is started. */
type Phase =
  | Reading
  | { readonly name: 'replacing'; readonly started: Promise<void>; readonly abort: AbortController }
  | { readonly name: 'closed' };

interface Reading {
  readonly name: 'reading';
  readonly pages: SharedPages;
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
  private readonly pool = new MemoryPool();
  private phase: Phase = this.reading();
  private readonly subscribers: Subscribers;
  private readonly state: FeedState;
  /** The replacement that failed and was logged, so that each retry is not logged again. */
  private failedReplacement = '';
  private readonly live: LiveRows;
  private watching: { close(): void } | null = null;
  /** Null: rows of this source do not change. */
  private readonly edits: EditWatch | null;

  constructor(private readonly options: FeedOptions) {
    const { source, state, clock } = options;
    this.name = source.name;
    this.subscribers = new Subscribers(this.name);
    this.edits = source.edits === undefined ? null : new EditWatch(options);
    this.markNow = state.mark(this.name) ?? state.timelines.begin(this.name, 1, 'first start');
    this.live = new LiveRows(options);
    this.state = new FeedState(this.name, clock, options.log, this.markNow.id);
  }

  get mark(): HighWaterMark {
    return this.markNow;
  }

  get status(): FeedStatus {
    return this.state.status(this.markNow);
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
    if (this.phase.name === 'reading') this.phase = this.reading();
  }

  /** Resolves when nothing is written any more. A timeline that has not started yet is left to the next process that reads. */
  async close(): Promise<void> {
    const { phase } = this;
    this.phase = { name: 'closed' };
    this.watching?.close();
    this.watching = null;
    this.subscribers.wake();
    if (phase.name !== 'replacing') return;
    phase.abort.abort();
    await phase.started;
  }

  /**
   * The rows above `after`, from memory or from the table; null if there are none now: `FeedSubscriber.wake` says when to ask again.
   *
   * @param input what the page must have; `isRetry` if a sink failed at it: then with the rows that came later
   * @returns to be given back by `release` once it is delivered; never, if it is not
   */
  read(after: number, input: SinkInput, isRetry = false): FeedPage | null {
    const { phase } = this;
    if (phase.name !== 'reading') return null;
    const from = Math.min(after, this.markNow.id);
    const page = phase.pages.find(from, input, isRetry) ?? this.readTable(from, phase, { input });
    if (page !== null) phase.pages.take(page);
    return page;
  }

  /** A loop has delivered a page, and reads nothing of it any more. */
  release(page: FeedPage): void {
    if (this.phase.name === 'reading') this.phase.pages.release(page);
  }

  /** Reads because something may have changed; true if there are new rows. */
  readNew(): boolean {
    const { phase } = this;
    if (phase.name !== 'reading') return false;
    const isUnread = phase.pages.upTo === this.markNow.id;
    const { subscribers } = this;
    if (isUnread && !subscribers.isAny('idle')) {
      subscribers.wake(); // all are busy and read by themselves, but one may have done so just before this change
      if (subscribers.isAny('delivering')) return false;
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
    if (after < this.markNow.id || this.state.maxId - after < PAGE_ROWS) return false;
    return this.subscribers.isAnyShortlyBehind(after);
  }

  /**
   * The one place in which the table is read for the sinks. The order matters: fingerprints and mark first, then edits, then the sinks.
   * So no sink is given a row before the state knows all that it needs to know of it.
   *
   * Rows become messages while they are read. Only where a row of the page may have been edited, the events are kept until it is known what
   * each sink is to get of it, and become messages then.
   */
  private readTable(
    after: number,
    phase: Reading,
    { input, isEdited: wasEdited = false }: { readonly input?: SinkInput; readonly isEdited?: boolean } = {},
  ): FeedPage | null {
    const mark = this.markNow;
    phase.pages.dropUnless((page) => this.subscribers.isWanted(page));
    const inputs = this.subscribers.inputsFor(after, input, (at) => phase.pages.lead(at, after));
    const encodesLater = wasEdited || this.hasOriginals(mark, after);
    const run = this.options.state.fingerprints.newRun();
    const collector = this.collectorFor(mark, inputs, run, encodesLater);
    const found = this.readRows(mark, after, collector);
    if (found === null) {
      this.options.state.fingerprints.release([run]);
      collector.discard();
      return null;
    }
    // Locked at the second try, after a first one that was discarded: its rows are void.
    if (found.lastEventId === null) collector.begin();
    const page = this.handleRows({ mark, after, phase, found, inputs, collector, run, encodesLater });
    if (page === null || page === 'edited') collector.discard();
    if (page === 'edited')
      return this.readTable(after, phase, { ...(input === undefined ? {} : { input }), isEdited: true });
    return page;
  }

  /** Records what was read and makes it a page; null if there is none; `edited` if the rows are needed as events. */
  private handleRows(read: TableRead): FeedPage | 'edited' | null {
    const { mark, after, phase, found, inputs, collector, encodesLater } = read;
    const rows = collector.collected();
    this.live.note(mark, found);
    this.recordFirstRead(mark, rows, read);

    // A sink that has not had an edited row gets it as it was first, and then each of its versions once.
    const { edits } = this;
    const isEdited = found.markEdited === true || edits?.hasChanged(mark.timeline, rows.known) === true;
    if (isEdited && !this.recordEdits(true)) return null;
    // All rows up to the mark were deleted: a sink lags behind nothing.
    const isGone = found.markDeleted && found.maxId <= after && after < mark.id;
    if (isGone) return pageOf(this.name, mark.timeline, mark.id, NO_ROWS);
    if (rows.length === 0) return null;
    if (!encodesLater && (isEdited || edits?.differs(mark.timeline, rows.known) === true)) return 'edited';
    const page = encodesLater
      ? this.asFirstRead(mark, rows, isEdited, inputs)
      : pageOf(this.name, mark.timeline, found.upTo, rows);
    if (page === null) return null;
    if (!encodesLater) edits?.keep(mark.timeline, rows.newest);
    phase.pages.add(after, page, rows.memories);
    return page;
  }

  private collectorFor(
    { timeline, id: mark }: HighWaterMark,
    inputs: readonly SinkInput[],
    run: FingerprintRun,
    encodesLater: boolean,
  ): PageCollector {
    const { state, isWatched, observer } = this.options;
    return new PageCollector({
      inputs,
      ...(observer === undefined ? {} : { observer }),
      mark,
      lowestRecent: state.recent.of(this.name, timeline)[0]?.id ?? Number.POSITIVE_INFINITY,
      run,
      inBacklog: this.edits?.inBacklog === true,
      keepsEvents: isWatched?.() === true,
      encodesLater,
      pool: this.pool,
    });
  }

  /** The page with each edited row as it was first; null if one is changing in this moment. @param comparesAll even those that are new */
  private asFirstRead(
    { timeline, id: mark }: HighWaterMark,
    rows: CollectedRows,
    comparesAll: boolean,
    inputs: readonly SinkInput[],
  ): FeedPage | null {
    const read = rows.events ?? [];
    const known = comparesAll ? read : read.filter(({ sequence }) => sequence <= mark);
    const events = this.edits?.asFirstRead(timeline, read, known) ?? read;
    if (events === 'again') return null;
    const upTo = rows.last?.sequence ?? 0;
    return pageOf(this.name, timeline, upTo, { ...rows, events, messages: messagesOf(inputs, events) });
  }

  /** Whether a row above `after` was edited before some sink had had it. */
  private hasOriginals({ timeline, id }: HighWaterMark, after: number): boolean {
    const isKnown = this.edits !== null && after < id;
    return isKnown && this.options.state.revisions.hasOriginals(this.name, timeline);
  }

  /** Opens, reads and closes the database; null if there is nothing to be read now. */
  private readRows(mark: HighWaterMark, after: number, consumer: RowConsumer): PageOfRows | null {
    const request = { mark, after, maxRows: PAGE_ROWS, maxBytes: PAGE_BYTES, consumer };
    const result = tryToRead(this.options.source, request);
    if (result.state === 'replaced') {
      this.replace(result.reason);
      return null;
    }
    if (result.state !== 'reading') {
      this.state.set(result.state, result.what, this.state.maxId, result.next);
      return null;
    }
    if (result.postern === 'running') this.state.set('reading', 'reading', result.maxId);
    else this.state.set('stopped', 'Postern is stopped; its last rows have been read', result.maxId);
    return result;
  }

  /** Records rows that are read for the first time, moves the mark, wakes the sinks and shows live rows. */
  private recordFirstRead(mark: HighWaterMark, rows: CollectedRows, { found, run }: TableRead): void {
    const { state } = this.options;
    const { timeline } = mark;
    const read = { rows: rows.recent, isMore: found.more, skips: rows.recent.length < run.length };
    const isNew = run.length > 0;
    state.fingerprints.recordRun(this.name, timeline, run);
    if (!isNew || rows.last === null) return;
    this.markNow = { timeline, id: rows.last.sequence, fingerprint: fingerprintOf(rows.last.id) };
    const newest = this.edits?.remember(this.markNow, read) ?? null;
    this.subscribers.wake(); // a sink that has read to the end already may be asleep
    this.live.report(mark, this.markNow.id, rows.events ?? newest ?? rows.newest);
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

  private reading(): Reading {
    return { name: 'reading', pages: new SharedPages(this.pool) };
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
        this.state.set('failed', `${what}; trying again`, 0);
        await sleep(RETRY_MS, undefined, { signal: abort.signal }).catch(() => undefined);
      })
      .finally(() => {
        if (this.phase.name === 'replacing') this.phase = this.reading();
        this.subscribers.wake();
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

/** One read of the table, on its way to a page. */
interface TableRead {
  readonly mark: HighWaterMark;
  readonly after: number;
  readonly phase: Reading;
  readonly found: PageOfRows;
  readonly inputs: readonly SinkInput[];
  readonly collector: PageCollector;
  readonly run: FingerprintRun;
  readonly encodesLater: boolean;
}
