import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEvent, SourceName } from '../audit/event.js';
import { messageOf } from '../errors.js';
import { fingerprintOf } from '../source/event-id.js';
import type { AuditSource, HighWaterMark, ReadResult, WaitingState } from '../source/source.js';
import { EditWatch, type EditWatchOptions } from './edit-watch.js';
import { findLost, type LostRows } from './lost-rows.js';

/**
 * Rows a look asks for; the bytes keep a page of 1 MB rows small. Opening, preparing and a transaction a sink cost 2 ms a page
 * in all: 2 µs a row with pages of 1,000, of the 9 µs that it takes to ship one. A page keeps the thread for some 20 ms.
 */
const PAGE_ROWS = 4_000;
const PAGE_BYTES = 4 * 2 ** 20;
/** Sinks at the same position share a page; one that is a few pages behind still finds its own. What all have passed goes at once. */
const PAGES_KEPT = 4;
/** How often rows read lately are read again. */
const EDITS_MS = 1_000;
/** After a new timeline could not be begun: a full disk is not looked at without a pause. */
const RETRY_MS = 1_000;

export interface FeedPage {
  readonly timeline: number;
  readonly after: number;
  readonly upTo: number;
  readonly events: readonly AuditEvent[];
}

/** A loop that reads this feed. */
export interface FeedSubscriber {
  wake(): void;
  /** True while it waits for new rows. */
  idle(): boolean;
  /** True while it goes through pages, and so looks itself. */
  delivering(): boolean;
  /** Its cursor in the current timeline of a source; null if it has none there yet. */
  cursor(source: SourceName): number | null;
}

/** What `status` says of a source. */
export interface FeedStatus {
  readonly state: 'starting' | 'reading' | 'stopped' | WaitingState;
  readonly message: string;
  readonly since: number;
  readonly timeline: number;
  readonly mark: number;
  readonly maxId: number;
  readonly lastLook: number;
}

export interface FeedOptions extends EditWatchOptions {
  /** Another history was found behind the path; `lost` are the rows that some sink had not delivered and that are gone. */
  readonly onReplaced: (timeline: number, reason: string, lost: readonly LostRows[]) => void;
  /** How often rows read lately are read again, ms. */
  readonly editsMs?: number;
  /** Called when edited rows have become rows of the daemon's own table. */
  readonly onRevised?: () => void;
  /** Called with what has just been written, once; not with the backlog of a start or of a database that was put back. */
  readonly onLive?: (events: readonly AuditEvent[]) => void;
  /** Called when something may have changed, before this feed looks: by whom the head is followed beside it. */
  readonly onWake?: () => void;
}

/**
 * One source as all sinks see it: reads pages, records the fingerprints of what was read for the first time, moves the
 * mark, and starts a new timeline when another history is found behind the path.
 *
 * Invariant: in a timeline every row up to the mark is recorded, and no cursor stands above the mark once its
 * transaction is through; so what a sink has had is always (recorded rows) ∩ (ids ≤ its cursor).
 */
export class Feed {
  readonly name: SourceName;
  private markNow: HighWaterMark;
  private pages: FeedPage[] = [];
  private readonly followers = new Set<FeedSubscriber>();
  private replacing: Promise<void> | null = null;
  private statusNow: FeedStatus;
  private readonly ending = new AbortController();
  /** The history that could not be begun, which was said. */
  private unbegun = '';
  /** Rows up to here were there before anybody looked on. */
  private past = { timeline: 0, upTo: 0 };
  private watcher: { close(): void } | null = null;
  /** Null: rows of this source do not change. */
  private readonly edits: EditWatch | null;
  private editTimer: NodeJS.Timeout | null = null;

  constructor(private readonly options: FeedOptions) {
    const { source, state, clock } = options;
    this.name = source.name;
    this.edits = source.edits === undefined ? null : new EditWatch(options);
    this.markNow = state.mark(this.name) ?? state.timelines.begin(this.name, 1, 'first start');
    const now = clock();
    this.statusNow = {
      state: 'starting',
      message: 'has not looked yet',
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

  /** To be called before anything is read: those who read until now may have gone on since this was made, to another timeline even. */
  resume(): void {
    this.markNow = this.options.state.mark(this.name) ?? this.markNow;
    this.edits?.begin(this.markNow.timeline);
  }

  start(): void {
    this.watcher = this.options.source.watch(() => {
      this.options.onWake?.();
      return this.wake();
    });
    if (this.edits !== null)
      this.editTimer = setInterval(() => this.watchEdits(false), this.options.editsMs ?? EDITS_MS);
  }

  /** The table itself, for rows that are read again. */
  get source(): AuditSource {
    return this.options.source;
  }

  /** Continues the numbering of a state that was lost: the files say which timeline was the last. Outside of any transaction. */
  continueAt(timeline: number): void {
    if (timeline <= this.markNow.timeline) return;
    this.turnTo(timeline, 'state.db was rebuilt');
    this.pages = [];
  }

  /** The page behind `after`, or null if there is none now; then `wait` says when to ask again. */
  page(after: number): FeedPage | null {
    if (this.ending.signal.aborted || this.replacing !== null) return null;
    const from = Math.min(after, this.markNow.id);
    const kept = this.pages.find((page) => page.after === from && page.timeline === this.markNow.timeline);
    if (kept !== undefined) return kept;
    return this.read(from);
  }

  /** Has `follower.wake` called at each change of this source: rows, another timeline, the end. */
  follow(follower: FeedSubscriber): void {
    this.followers.add(follower);
  }

  /**
   * True if a loop at `after` would read a page that the others are not ready for: it would be read again for them.
   * A reason to give them a turn, not to wait for them.
   */
  isAheadOfOthers(after: number): boolean {
    if (after < this.markNow.id || this.statusNow.maxId - after < PAGE_ROWS) return false;
    const near = after - PAGES_KEPT * 8 * PAGE_ROWS;
    return [...this.followers].some((follower) => {
      const at = follower.cursor(this.name);
      return at !== null && at < after && at >= near;
    });
  }

  /** Resolves when nothing is written any more. A timeline that is about to begin is left to the next one that reads. */
  async close(): Promise<void> {
    this.ending.abort();
    this.watcher?.close();
    this.watcher = null;
    if (this.editTimer !== null) clearInterval(this.editTimer);
    this.wakeFollowers();
    await this.replacing;
  }

  /** Looks because something may have changed; true if there are new rows. */
  wake(): boolean {
    if (this.ending.signal.aborted || this.replacing !== null) return false;
    const kept = this.pages.at(-1);
    const unread =
      kept !== undefined && kept.timeline === this.markNow.timeline && kept.upTo === this.markNow.id;
    const followers = [...this.followers];
    if (unread && !followers.some((follower) => follower.idle())) {
      this.wakeFollowers(); // all are busy and look themselves, but one may have done so just before this change
      if (followers.some((follower) => follower.delivering())) return false;
      // All are down: status and the live view go on without them. Nobody commits meanwhile, so what is remembered would only grow.
      if (!this.written()) return false;
    }
    return this.read(this.markNow.id) !== null;
  }

  /** Has the state what is remembered of rows read before? */
  private written(): boolean {
    try {
      this.options.state.transaction(() => undefined);
      return true;
    } catch {
      return false; // a full disk, which the sinks say
    }
  }

  private wakeFollowers(): void {
    for (const follower of this.followers) follower.wake();
  }

  /** Is there a sink that has yet to come by it? */
  private isWanted({ timeline, upTo }: FeedPage): boolean {
    if (timeline !== this.markNow.timeline) return false;
    return [...this.followers].some((follower) => {
      const at = follower.cursor(this.name);
      return at !== null && at < upTo;
    });
  }

  private read(after: number): FeedPage | null {
    const mark = this.markNow;
    this.pages = this.pages.filter((page) => this.isWanted(page));
    let look: ReadResult;
    try {
      look = this.options.source.read({ mark, after, maxRows: PAGE_ROWS, maxBytes: PAGE_BYTES });
    } catch (error) {
      // A source maps every error it knows; what is left is a defect, reported and retried like any other state.
      look = { state: 'failed', message: `reading failed: ${messageOf(error)}`, code: null };
    }
    if (look.state === 'replaced') {
      this.replace(look.reason);
      return null;
    }
    if (look.state !== 'reading') {
      this.setStatus(look.state, look.message, this.statusNow.maxId);
      return null;
    }
    this.setStatus(
      look.postern === 'stopped' ? 'stopped' : 'reading',
      look.postern === 'stopped' ? 'Postern is stopped; its last rows have been read' : 'reading',
      look.maxId,
    );
    const isPutBack = mark.id === 0 && look.maxId > PAGE_ROWS; // a backup, into a table that had nothing yet
    if (this.past.timeline !== mark.timeline || isPutBack)
      this.past = { timeline: mark.timeline, upTo: pastOf(mark, look) };
    const first = look.events.findIndex((event) => event.sequence > mark.id);
    const fresh = first < 0 ? [] : look.events.slice(first);
    const known = first < 0 ? look.events : look.events.slice(0, first);
    const last = fresh.at(-1);
    if (last !== undefined) {
      this.options.state.fingerprints.record(this.name, mark.timeline, fresh);
      if (this.edits !== null) this.options.state.recent.record(this.name, mark.timeline, fresh, look.more);
      this.markNow = { timeline: mark.timeline, id: last.sequence, fingerprint: fingerprintOf(last.id) };
    }
    // Before anybody is given one of these rows: who has not had it gets it as it was first, and each of its versions once.
    const isEdited = look.markEdited === true || this.edits?.hasChanged(mark.timeline, known) === true;
    if (isEdited && !this.watchEdits(true)) return null;
    // Deleted, all to the last: there is nothing that a sink lags behind.
    const isGone = look.markDeleted && look.maxId <= after && after < mark.id;
    if (isGone) return { timeline: mark.timeline, after, upTo: mark.id, events: [] };
    if (look.events.length === 0) return null;
    const events =
      this.edits?.given(mark.timeline, look.events, isEdited ? look.events : known) ?? look.events;
    if (events === 'again') return null;
    const page: FeedPage = { timeline: mark.timeline, after, upTo: look.upTo, events };
    this.pages.push(page);
    if (this.pages.length > PAGES_KEPT) this.pages.shift();
    if (last !== undefined) this.wakeFollowers(); // one that has looked already may be at rest
    if (last !== undefined && last.sequence > this.past.upTo)
      this.options.onLive?.(fresh.filter(({ sequence }) => sequence > this.past.upTo));
    return page;
  }

  /** @returns false where what was found could not be recorded, or is another history */
  private watchEdits(isKnown: boolean): boolean {
    if (this.edits === null || this.ending.signal.aborted || this.replacing !== null) return false;
    const found = this.edits.look(this.markNow, isKnown);
    if (found === null || found === 'unrecorded') return found === null;
    if ('replaced' in found) {
      this.replace(found.replaced);
      return false;
    }
    this.markNow = found.mark;
    if (found.versions > 0) this.options.onRevised?.();
    return true;
  }

  private setStatus(state: FeedStatus['state'], message: string, maxId: number): void {
    const now = this.options.clock();
    const before = this.statusNow;
    const same = before.state === state && before.message === message;
    this.statusNow = {
      ...before,
      state,
      message,
      maxId,
      since: same ? before.since : now,
      lastLook: now,
    };
    if (same || (before.state === 'starting' && state === 'reading')) return;
    const waiting = state !== 'reading' && state !== 'stopped';
    this.options.log[waiting ? 'warn' : 'info'](
      { source: this.name, state },
      `source ${this.name}: ${message}`,
    );
  }

  private replace(reason: string): void {
    const { timeline } = this.markNow;
    this.pages = [];
    if (this.unbegun !== `${timeline} ${reason}`) {
      this.options.log.warn(
        { source: this.name, timeline: timeline + 1, reason },
        `another database history: ${reason}`,
      );
    }
    this.replacing = this.begin(timeline + 1, reason)
      .catch(async (error: unknown) => {
        this.unbegun = `${timeline} ${reason}`;
        this.setStatus(
          'failed',
          `starting timeline ${timeline + 1} failed: ${messageOf(error)}; trying again`,
          0,
        );
        await sleep(RETRY_MS, undefined, { signal: this.ending.signal }).catch(() => undefined);
      })
      .finally(() => {
        this.replacing = null;
        this.wakeFollowers();
      });
  }

  private async begin(timeline: number, reason: string): Promise<void> {
    const { state, source, sinks, onReplaced } = this.options;
    state.transaction(() => undefined); // what is only remembered of the old timeline is written first
    const lost = await findLost(source, state, this.markNow, sinks(), this.ending.signal);
    if (this.ending.signal.aborted) return;
    this.turnTo(timeline, reason);
    onReplaced(timeline, reason, lost);
  }

  /** The state first: a commit may fail, and then this is where it was. */
  private turnTo(timeline: number, reason: string): void {
    const { state } = this.options;
    this.markNow = state.transaction(() => {
      state.revisions.forget(this.name, timeline, 0);
      return state.timelines.begin(this.name, timeline, reason);
    });
  }
}

/** Of a first look: what a short absence (a reload) has left is still new to those who look on. */
function pastOf(mark: HighWaterMark, { maxId }: { readonly maxId: number }): number {
  return mark.id === 0 || maxId - mark.id > PAGE_ROWS ? maxId : mark.id;
}
