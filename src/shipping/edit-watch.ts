import type { Logger } from 'pino';
import type { AuditEvent } from '../audit/event.js';
import { messageOf } from '../errors.js';
import { fingerprintOf } from '../source/event-id.js';
import { eventSize } from '../source/row-to-event.js';
import { type AuditSource, type HighWaterMark, tryToRead } from '../source/source.js';
import { type FirstRead, type RememberedRow, recentOf } from './recent-rows.js';
import type { Edit } from './revisions.js';
import type { State } from './state.js';

/** How long a row is watched for edits after it was read. */
const WATCHED_MS = 60_000;
/** At most one version per row in this time: the second between two checks, which may begin slightly early. */
const APART_MS = 950;
/** Text read at a time. */
const CHECK_BYTES = 8 * 2 ** 20;
/** Rows kept in memory as read, for sinks that have not received them. */
const CONTENT_BYTES = 16 * 2 ** 20;
const CONTENT_ROWS = 1_000;

export interface EditWatchOptions {
  readonly source: AuditSource;
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
  /** The names of the sinks whose cursors count. */
  readonly sinks: () => readonly string[];
}

/** A row just read. */
export type ReadRow = Pick<AuditEvent, 'sequence' | 'id'>;

/** The result of reading rows again: another history, or the mark as it is now. */
export type Watched =
  | { readonly replaced: string }
  | { readonly mark: HighWaterMark; readonly versions: number; readonly accepted: number };

/**
 * Finds edits of rows that were read in the last minute. An edit becomes a row of the daemon's own table, in one transaction with the
 * remembered row: after a crash either both are saved, or the edit is found again.
 *
 * At a start, rows read in the last minute before the stop are checked as well. Older rows are not checked. If one is found to differ (the
 * row at the mark), its new values are accepted without a version.
 */
export class EditWatch {
  /** Rows as read or last seen, in the order of reading. */
  private readonly contents = new Map<number, AuditEvent>();
  private bytes = 0;
  private timeline = 0;
  /** Where the next check continues; 0: from the first row. */
  private after = 0;
  /** Rows read at or after this count as just read, until they have been checked once. */
  private startsAt: number | null = null;
  private isUnrecorded = false;
  /** Not all of the newest rows are remembered. */
  private skips = false;

  constructor(private readonly options: EditWatchOptions) {}

  /** Whether a row just read differs from the known and watched one. */
  hasChanged(timeline: number, rows: readonly ReadRow[]): boolean {
    return this.unknown(timeline, rows).length > 0;
  }

  /** Whether a row just read differs from the known one, watched or not. */
  differs(timeline: number, rows: readonly ReadRow[]): boolean {
    return this.differing(timeline, rows).length > 0;
  }

  /** Keeps rows just read, for sinks that have not received them before an edit. None of them differs from the known row. */
  keep(timeline: number, events: readonly AuditEvent[]): void {
    if (timeline !== this.timeline) this.forgetContents(timeline);
    const { source, state } = this.options;
    const lowest = state.recent.of(source.name, timeline)[0]?.id ?? 0;
    for (const event of events.slice(-CONTENT_ROWS)) if (event.sequence >= lowest) this.keepContent(event);
  }

  /**
   * Returns rows just read for a sink that has not received them: edited ones with their original values.
   *
   * @param known the rows among them that had been read before
   * @returns `again` if a row matches neither its known nor its original values: it is changing at this moment
   */
  asFirstRead(
    timeline: number,
    events: readonly AuditEvent[],
    known: readonly AuditEvent[],
  ): readonly AuditEvent[] | 'again' {
    const { source, state } = this.options;
    if (timeline !== this.timeline) this.forgetContents(timeline);
    const first = events[0]?.sequence ?? 0;
    const last = events.at(-1)?.sequence ?? 0;
    const kept = state.revisions.originals(source.name, timeline, first, last);
    if (this.unknown(timeline, known).some(({ sequence }) => !kept.has(sequence))) return 'again';
    if (
      !this.accept(
        timeline,
        known.filter(({ sequence }) => !kept.has(sequence)),
      )
    )
      return 'again';
    this.keep(
      timeline,
      events.slice(-CONTENT_ROWS).filter(({ sequence }) => !kept.has(sequence)),
    );
    if (kept.size === 0) return events;
    return events.map((event) => {
      const was = kept.get(event.sequence);
      return was === undefined ? event : (source.remade?.(was) ?? event);
    });
  }

  /**
   * Remembers rows that were read for the first time. Pages of a backlog remember few of theirs: at its end the newest rows are read once
   * more, as they are then.
   *
   * @param mark behind them
   * @returns the newest rows, if they were read again
   */
  remember(mark: HighWaterMark, read: FirstRead): readonly AuditEvent[] | null {
    const { source, state } = this.options;
    state.recent.record(source.name, mark.timeline, read);
    this.skips ||= read.skips;
    if (!this.skips || read.isMore) return null;
    const newest = this.readNewest(mark);
    if (newest === null) return null;
    this.skips = false;
    const rows = newest.map((event) => recentOf(event));
    state.recent.record(source.name, mark.timeline, { rows, isMore: false, skips: true });
    this.keep(mark.timeline, newest);
    return newest;
  }

  /** Rows of a backlog were left out, and its end has not been reached. */
  get inBacklog(): boolean {
    return this.skips;
  }

  private readNewest(mark: HighWaterMark): readonly AuditEvent[] | null {
    const request = { mark, after: 0, before: mark.id + 1, maxRows: CONTENT_ROWS, maxBytes: CONTENT_BYTES };
    const found = tryToRead(this.options.source, request);
    const last = found.state === 'reading' ? found.events.at(-1) : undefined;
    if (found.state !== 'reading' || last?.sequence !== mark.id) return null;
    return fingerprintOf(last.id) === mark.fingerprint ? found.events : null;
  }

  private unknown<R extends ReadRow>(timeline: number, rows: readonly R[]): R[] {
    const now = this.options.clock();
    return this.differing(timeline, rows).flatMap(({ event, row }) =>
      this.isWatched(row, now) ? [event] : [],
    );
  }

  /**
   * A row that is no longer watched is delivered with its new values, and must not become a version of itself at the next start.
   *
   * @returns false if the write fails
   */
  private accept(timeline: number, events: readonly AuditEvent[]): boolean {
    const { source, state } = this.options;
    const now = this.options.clock();
    const rows = this.differing(timeline, events).flatMap(({ event, row }) =>
      this.isWatched(row, now) ? [] : [recentOf(event, row)],
    );
    if (rows.length === 0) return true;
    try {
      state.transaction(() => state.recent.update(source.name, timeline, rows), true);
    } catch {
      return false; // a full disk, which the sinks report
    }
    state.recent.replace(source.name, timeline, rows);
    return true;
  }

  private differing<R extends ReadRow>(
    timeline: number,
    events: readonly R[],
  ): Array<{ readonly event: R; readonly row: RememberedRow }> {
    const { source, state } = this.options;
    const recent = state.recent.of(source.name, timeline);
    const lowest = recent[0]?.id ?? Number.POSITIVE_INFINITY;
    if ((events.at(-1)?.sequence ?? 0) < lowest) return [];
    const known = new Map(recent.map((row) => [row.id, row]));
    return events.flatMap((event) => {
      const row = known.get(event.sequence);
      return row === undefined || row.fingerprint === fingerprintOf(event.id) ? [] : [{ event, row }];
    });
  }

  /**
   * @param isMarkEdited the row at the mark differs: all known rows are checked
   * @returns null if nothing could be read
   */
  record(mark: HighWaterMark, isMarkEdited: boolean): Watched | 'unrecorded' | null {
    try {
      const found = this.findAndRecord(mark, isMarkEdited);
      this.isUnrecorded = false;
      return found;
    } catch (error) {
      // A full disk, or a defect: the row still differs, so the next check finds it again.
      const { source, log } = this.options;
      if (!this.isUnrecorded)
        log.error(
          { source: source.name, err: error },
          `edited rows could not be recorded: ${messageOf(error)}; retrying each second`,
        );
      this.isUnrecorded = true;
      return 'unrecorded';
    }
  }

  private findAndRecord(mark: HighWaterMark, isMarkEdited: boolean): Watched | null {
    const { source, state, clock } = this.options;
    const recent = state.recent.of(source.name, mark.timeline);
    const now = clock();
    if (!isMarkEdited && this.isOver(recent, now)) {
      this.dropPassedOriginals(mark);
      this.after = 0;
      return null;
    }
    const due = recent.filter((row) => row.id <= mark.id && (isMarkEdited || this.isWatched(row, now)));
    const rows = isMarkEdited ? due : due.filter(({ id }) => id > this.after);
    this.dropPassedOriginals(mark);
    if (rows.length === 0) {
      this.after = 0;
      return null;
    }
    const found = source.edits?.({ mark, rows, maxBytes: CHECK_BYTES }) ?? null;
    if (found === null) return null;
    if (found.state === 'replaced') return { replaced: found.reason };
    if (found.state !== 'reading') return null;
    const isWhole = found.upTo >= (rows.at(-1)?.id ?? 0);
    const result = this.recordVersions(mark, found.changed, new Map(recent.map((row) => [row.id, row])), now);
    if (isMarkEdited) return result;
    this.after = isWhole ? 0 : found.upTo;
    if (isWhole) this.startsAt = null;
    return result;
  }

  /** Called before the first read. */
  resume(timeline: number): void {
    const { source, state } = this.options;
    this.timeline = timeline;
    const newest = Math.max(0, ...state.recent.of(source.name, timeline).map(({ readAt }) => readAt));
    this.startsAt = newest === 0 ? null : newest - WATCHED_MS;
  }

  private isWatched(row: RememberedRow, now: number): boolean {
    return now - row.readAt < WATCHED_MS || (this.startsAt !== null && row.readAt >= this.startsAt);
  }

  /** True if even the last row read is no longer watched: this detects an idle table without a loop over its rows. */
  private isOver(recent: readonly RememberedRow[], now: number): boolean {
    const last = recent.at(-1);
    return last === undefined || !this.isWatched(last, now);
  }

  private recordVersions(
    mark: HighWaterMark,
    changed: readonly AuditEvent[],
    recent: ReadonlyMap<number, RememberedRow>,
    now: number,
  ): Watched | null {
    const { source, state } = this.options;
    const edits: Edit[] = [];
    const rows: RememberedRow[] = [];
    let versions: AuditEvent[] = [];
    for (const event of changed) {
      const before = recent.get(event.sequence);
      if (before === undefined) continue;
      if (!this.isWatched(before, now)) {
        rows.push(recentOf(event, before));
        continue;
      }
      const since = now - before.revisedAt;
      if (since >= 0 && since < APART_MS) continue; // the next check finds it
      edits.push(this.editOf(event, before, mark));
      rows.push({ ...recentOf(event, before), revisedAt: now });
      versions = [...versions, event];
    }
    if (rows.length === 0) return null;
    const atMark = rows.find(({ id }) => id === mark.id);
    const next = atMark === undefined ? mark : { ...mark, fingerprint: atMark.fingerprint };
    state.transaction(() => {
      for (const edit of edits) state.revisions.record(edit);
      state.recent.update(source.name, mark.timeline, rows);
      if (atMark !== undefined) state.timelines.setMark({ ...next, source: source.name });
    }, true); // old values are written before the new ones
    state.recent.replace(source.name, mark.timeline, rows);
    for (const event of versions) this.keepContent(event);
    return { mark: next, versions: edits.length, accepted: rows.length - edits.length };
  }

  private editOf(event: AuditEvent, before: RememberedRow, mark: HighWaterMark): Edit {
    const { source, state } = this.options;
    const base = { event, actionBefore: before.action };
    const behind = this.positions(mark).filter(({ upTo }) => upTo < event.sequence);
    if (behind.length === 0 || state.revisions.hasOriginal(source.name, mark.timeline, event.sequence))
      return { ...base, original: null, notFor: [] };
    const was = this.contents.get(event.sequence);
    if (was !== undefined) return { ...base, original: was, notFor: [] };
    // Read by an earlier process: its old values are unknown. Sinks that have not received the row get the new values instead.
    return { ...base, original: event, notFor: behind.map(({ sink }) => sink) };
  }

  private positions({ timeline }: HighWaterMark): Array<{ sink: string; upTo: number }> {
    const { source, state, sinks } = this.options;
    return sinks().map((sink) => {
      const start = state.cursors.start(sink, source.name);
      const skipTo = start?.timeline === timeline ? start.skipTo : 0;
      return { sink, upTo: Math.max(state.cursors.position(sink, source.name, timeline) ?? 0, skipTo) };
    });
  }

  /** Drops rows that all sinks have received. */
  private dropPassedOriginals(mark: HighWaterMark): void {
    const { source, state } = this.options;
    if (!state.revisions.hasOriginals(source.name, mark.timeline)) return;
    const lowest = Math.min(mark.id, ...this.positions(mark).map(({ upTo }) => upTo));
    state.transaction(() => state.revisions.forget(source.name, mark.timeline, lowest));
  }

  private keepContent(event: AuditEvent): void {
    this.dropContent(event.sequence);
    this.contents.set(event.sequence, event);
    this.bytes += eventSize(event);
    for (const id of this.contents.keys()) {
      if (this.bytes <= CONTENT_BYTES && this.contents.size <= CONTENT_ROWS) break;
      this.dropContent(id);
    }
  }

  private dropContent(id: number): void {
    const known = this.contents.get(id);
    if (known === undefined) return;
    this.contents.delete(id);
    this.bytes -= eventSize(known);
  }

  private forgetContents(timeline: number): void {
    this.timeline = timeline;
    this.contents.clear();
    this.bytes = 0;
    this.after = 0;
    this.startsAt = null;
  }
}
