import type { KeyObject } from 'node:crypto';
import { setImmediate as otherWork } from 'node:timers/promises';
import type { PublicSource } from '../audit/event.js';
import type { Config } from '../config/schema.js';
import { rangesOf } from '../shipping/id-ranges.js';
import type { TableConfig } from '../source/table-schema.js';
import type { Removal } from './archive/anchor.js';
import { makeDirectory, manifestName, stemOf } from './archive/archive-files.js';
import {
  type ExpiredArchive,
  expirable,
  expiredArchiveOf,
  expiredUpTo,
  removeArchives,
} from './archive/expire.js';
import type { KnownRecord } from './archive/legal-hold-records.js';
import type { Manifest } from './archive/manifest.js';
import { BEGINNING, type ChainHead } from './archive/manifest-chain.js';
import { type ArchiveRecord, archiveRecordOf } from './archive/recorded-heads.js';
import { repairArchives } from './archive/repair.js';
import { type RowIdentity, TableRows } from './archive/table-rows.js';
import { createArchive, monthOf } from './archive/write.js';
import { changeIn, type DeliveredRows, type DeliveryChange } from './changes-since-delivery.js';
import { countPresent, hasRowsOf } from './count-present.js';
import type { Read } from './database-reader.js';
import type { PurgeStep } from './deletion-ledger.js';
import { HeldArchives } from './held-archives.js';
import { planRun, type RunPlan } from './plan.js';
import type { Purger } from './purge/client.js';
import { type FreedSpace, NOTHING, type Purged, sum } from './purge/protocol.js';
import { ArchiveReader } from './purge/read-archive.js';
import { slicesOf } from './read-slices.js';
import type { RowEligibility } from './row-eligibility.js';
import { type AnchorNote, settleChainBegin } from './settle-chain-begin.js';
import type { Hold } from './sink-holds.js';
import { checkChainContinues, type PurgedNote, pendingArchives } from './unfinished-archives.js';
import { checkRemoved, checkSpace } from './verify-removal.js';

/** Rows read from the table at a time. */
const SLICE = 500;
/** Where rows are large, fewer: all of them are in memory, several times as they are and as they are written. */
const SLICE_BYTES = 8 * 2 ** 20;

/** A table that rows are removed from. */
export interface Target {
  readonly source: PublicSource;
  readonly timeline: number;
  readonly table: TableConfig;
  readonly retention: Config['retention'];
  readonly read: Read;
  readonly rows: RowIdentity;
  readonly eligibility: RowEligibility;
  readonly holds: readonly Hold[];
  /** Rows with an id below this may go. */
  readonly limit: number;
  readonly purger: () => Promise<Purger>;
  /** What was delivered of it; null: nothing is known of that. */
  readonly delivered: DeliveredRows | null;
  /** Octets of a row that can be archived; left out: as many as there can be. */
  readonly largest?: number;
}

export interface RunOptions {
  readonly targets: readonly Target[];
  readonly archive: Config['retention']['archive'];
  readonly minFree: number;
  readonly sourceId: string;
  /** A name of the run, for people. */
  readonly run: string;
  readonly sign: KeyObject | null;
  readonly purged: PurgedNote | null;
  /** What is recorded of archives that were removed, the oldest first. */
  readonly removals: readonly Removal[];
  /** Records of legal holds that must be there, as state.db has them. */
  readonly legal: readonly KnownRecord[];
  readonly clock: () => number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RunProgress) => void;
  readonly onArchived: (archived: Archived) => void;
  /** After each request to a purge: what is deleted is gone, whatever becomes of the run. */
  readonly onDeleted: (source: PublicSource, purged: Purged) => void;
  /** Archives whose deletion was begun and not settled. */
  readonly unsettled: readonly string[];
  /** Before each request to a purge; resolves when it is on the medium. */
  readonly onPurging: (step: PurgeStep) => Promise<void>;
  /** All blocks of an archive have been asked for. Null: some of its rows, or of one before it, have to stay for now. */
  readonly onSettled: (sha256: string, note: PurgedNote | null) => void;
  readonly onAnchor: (note: AnchorNote) => void;
  /** Archives that are past their age, and the newest record of holds that was looked at. Resolves with what may go now, once that is recorded; null if nothing may. */
  readonly onExpired: (expired: readonly ExpiredArchive[], holds: string | null) => Promise<Removal | null>;
  /** All that was to be deleted of this archive and those before it has been. */
  readonly onPurged: (note: PurgedNote) => void;
}

export interface RunProgress {
  readonly phase: 'resuming' | 'looking' | 'archiving' | 'purging';
  readonly source: PublicSource;
  /** Of the archive, where one is meant. */
  readonly month: string | null;
  readonly done: number;
  readonly of: number;
}

/** An archive as it has just come to be. */
export interface Archived {
  readonly source: PublicSource;
  readonly month: string;
  readonly record: ArchiveRecord;
}

/** What a run did with one table. */
interface TargetResult {
  readonly source: PublicSource;
  readonly plan: Omit<RunPlan, 'months' | 'moment' | 'present'>;
  readonly archives: readonly Archived[];
  readonly purged: Purged;
  readonly space: FreedSpace | null;
}

export interface RunResult {
  /** Archives that were removed because of their age. */
  readonly expired: number;
  /** What a run before had archived and not deleted. */
  readonly resumed: Purged;
  readonly targets: readonly TargetResult[];
}

/**
 * One run: finish what the one before left, look which rows may go, archive them by month, and have them deleted.
 *
 * A row is deleted only by what its archive says, read from the finished file: archive and deletion can't speak of different rows. A death
 * between the two leaves an archive behind the note (`PurgedNote`), and the next run deletes its rows before it looks for others: so
 * no row comes into a second archive, but one that came under a legal hold in between.
 */
export async function runRetention(options: RunOptions): Promise<RunResult> {
  const { archive, minFree, targets, purged, removals, sign, clock, onAnchor } = options;
  const { directory } = archive;
  const notes: AnchorNote[] = [];
  const { begin, decided } = settleChainBegin({
    directory,
    removals,
    purged,
    sign,
    clock,
    onAnchor: (note) => notes.push(note),
  });
  checkChainContinues(directory, purged, begin);
  makeDirectory(directory);
  for (const note of notes) onAnchor(note);
  const end = purged?.directory === directory ? purged.sequence : 0;
  const legal = new HeldArchives(directory, options.legal, targets);
  const remove = archive.keep === null ? 0 : Math.min(decided, end);
  repairArchives(directory, begin, legal.isFree(remove) ? remove : 0);
  const run = new RetentionRun(options, begin, legal);
  try {
    const resumed = await run.resume();
    const results: TargetResult[] = [];
    for (const target of targets) {
      const plan = await run.plan(target);
      if (plan.months.size > 0) checkSpace(directory, minFree);
      results.push(await run.archiveAndPurge(target, plan));
    }
    checkRemoved(results.reduce((all, { purged }) => sum(all, purged), resumed));
    return { expired: await run.expire(), resumed, targets: results };
  } finally {
    run.close();
  }
}

class RetentionRun {
  private readonly purgers = new Map<PublicSource, Purger>();
  /** An archive was met of which rows have to stay for now: the note can't move past it. */
  private stuck = false;
  /** The newest archive of those whose rows are all gone from the table, with the hash that its manifest has of itself. */
  private purged: ChainHead = BEGINNING;
  /** Rows that the purge would not delete, or SQLite did not, in this run. They are in an archive: in a second one they would be again each time. */
  private readonly refused = new Map<PublicSource, Set<number>>();
  /** From when ages of Postern's rows are counted; undefined while that was not looked at. */
  private reference: number | null | undefined;
  /** Of the first archive that this run made. */
  private firstMade = Number.POSITIVE_INFINITY;

  constructor(
    private readonly options: RunOptions,
    private readonly begin: ChainHead,
    private readonly legal: HeldArchives,
  ) {}

  async resume(): Promise<Purged> {
    const { archive, purged, targets, unsettled } = this.options;
    let resumed = NOTHING;
    const pending = pendingArchives(archive.directory, purged);
    const [first] = pending;
    // Of another chain the note says nothing.
    if (purged !== null && (first === undefined || first.sequence > purged.sequence)) this.purged = purged;
    for (const manifest of pending) {
      const target = targets.find(({ source }) => source === manifest.source);
      if (target === undefined) {
        this.stuck = true;
        continue;
      }
      const isOpen = unsettled.includes(manifest.sha256) || this.mayBeUnrecorded(manifest);
      if (isOpen || hasRowsOf(target, manifest)) resumed = sum(resumed, await this.purge(target, manifest));
      else {
        const note = this.noteOf(manifest);
        if (note !== null) this.options.onPurged(note);
      }
    }
    return resumed;
  }

  /** An archive of this state.db, which may have died before it recorded what is in it. */
  private mayBeUnrecorded({ source_id: id, since_delivery: since }: Manifest): boolean {
    return id === this.options.sourceId && since !== undefined;
  }

  async plan(target: Target): Promise<RunPlan> {
    const { source, read, table, eligibility, retention, holds, limit, largest } = target;
    const { clock, signal, onProgress } = this.options;
    const plan = await planRun({
      read,
      table,
      eligibility,
      retention,
      holds,
      legal: this.legal.readHolds(),
      limit,
      ...(largest === undefined ? {} : { largest }),
      refused: this.refused.get(source) ?? new Set(),
      clock: clock(),
      // Our own events have the time of a wrong clock at once: Postern's newest row counts for them too.
      ...(source === 'auditd' && this.reference !== undefined ? { latest: this.reference } : {}),
      signal,
      onProgress: (done) => onProgress({ phase: 'looking', source, month: null, done, of: 1 }),
    });
    if (source === 'postern') this.reference = plan.moment.reference;
    return plan;
  }

  async archiveAndPurge(target: Target, plan: RunPlan): Promise<TargetResult> {
    let purged = NOTHING;
    const archives: Archived[] = [];
    // Nothing is archived that could not be removed then.
    if (plan.months.size > 0) {
      await (await this.purgerOf(target)).probe(this.options.legal);
      await target.delivered?.findMissing(plan.present);
    }
    for (const [month, ids] of plan.months) {
      const made = await this.archive(target, month, ids);
      if (made === null) continue;
      const { manifest, change } = made;
      const archived = { source: target.source, month, record: archiveRecordOf(manifest) };
      archives.push(archived);
      this.firstMade = Math.min(this.firstMade, manifest.sequence);
      this.options.onArchived(archived);
      purged = sum(purged, await this.purge(target, manifest, change));
    }
    const space = purged.deleted > 0 ? ((await this.purgers.get(target.source)?.shrink()) ?? null) : null;
    const { months: _months, moment: _moment, present: _present, ...rest } = plan;
    return { source: target.source, plan: rest, archives, purged, space };
  }

  /** Removes archives past their age, but none whose rows may still be in the table, and none of this run whatever the clock says. */
  async expire(): Promise<number> {
    const { archive, sign, clock, onExpired } = this.options;
    const { directory, keep } = archive;
    const archives = expirable(directory, this.begin, this.purged).filter(
      ({ sequence }) => sequence < this.firstMade,
    );
    const upTo = expiredUpTo(archives, keep, clock());
    const holds = this.legal.readHolds();
    const past = archives.filter(({ sequence }) => sequence <= upTo);
    // Archives that a hold has kept behind the decision over them are still there, and a later removal would take them along.
    const expired = this.legal.isFree(this.begin.sequence) ? this.legal.beforeHeld(past, holds) : [];
    const removal = await onExpired(expired.map(expiredArchiveOf), holds.head);
    if (removal === null || !expired.some(({ sequence }) => sequence === removal.sequence)) return 0;
    // A hold that came behind the decision: what it is about stays, and so does the rest, until a run finds it released.
    if (this.legal.readHolds().head !== holds.head && !this.legal.isFree(removal.sequence)) return 0;
    removeArchives(directory, removal, sign);
    return expired.filter(({ sequence }) => sequence <= removal.sequence).length;
  }

  close(): void {
    for (const purger of this.purgers.values()) purger.close();
  }

  /** Null if none of the rows is there any more, or as it was. */
  private async archive(
    target: Target,
    month: string,
    ids: readonly number[],
  ): Promise<{ manifest: Manifest; change: DeliveryChange | null } | null> {
    const { archive, sourceId, run, sign, clock, signal, onProgress } = this.options;
    const { source, timeline, read, table, rows } = target;
    const slice = slicesOf(target);
    const shape = read((db) => new TableRows(db, table, rows).shape);
    const { directory, compression } = archive;
    const options = {
      directory,
      source,
      sourceId,
      timeline,
      table: shape,
      month,
      run,
      compression,
      sign,
      begin: this.begin,
      holds: this.legal.readHolds().head,
      clock,
    };
    const writer = createArchive(options);
    const comparison = target.delivered?.startComparison() ?? null;
    try {
      for (let at = 0; at < ids.length; ) {
        signal.throwIfAborted();
        const { rows: found, taken } = slice(ids.slice(at, at + SLICE), SLICE_BYTES);
        const rows = found.filter(({ time }) => monthOf(time) === month);
        for (const row of rows) writer.add(row);
        comparison?.compare(rows);
        onProgress({ phase: 'archiving', source, month, done: at, of: ids.length });
        at += taken;
        await otherWork();
      }
      if (writer.count === 0) {
        writer.abort();
        return null;
      }
      const change = comparison?.finish() ?? null;
      return { manifest: await writer.finish((some) => slice(some).rows, change?.said), change };
    } catch (error) {
      writer.abort();
      throw error;
    }
  }

  /** @param change what a run that has just made the archive knows; left out: it was there */
  private async purge(target: Target, manifest: Manifest, change?: DeliveryChange | null): Promise<Purged> {
    const phase = change === undefined ? 'resuming' : 'purging';
    const since = change === undefined ? changeIn(manifest) : change;
    const { signal, onProgress, onDeleted, onPurging, onSettled } = this.options;
    const { source, limit: below } = target;
    const { sequence, timeline, month, sha256, count: of } = manifest;
    const archive = manifestName(stemOf(sequence, manifest.source, timeline, month));
    const purger = await this.purgerOf(target);
    const refused = this.refused.get(source) ?? new Set();
    this.refused.set(source, refused);
    const subject = { source, month, sha256, record: archiveRecordOf(manifest) };
    const { directory } = this.options.archive;
    const reader = new ArchiveReader({ directory, source, table: target.table });
    let purged = NOTHING;
    let done = 0;
    try {
      for (const [block, [, , rows]] of manifest.blocks.entries()) {
        signal.throwIfAborted();
        const archived = reader.read({ archive, sha256, block, below });
        await onPurging({
          subject,
          block,
          present: countPresent(target, archived),
          isNew: phase === 'purging',
          timeline,
          ids: rangesOf(archived.map(({ id }) => id)),
          change: block === 0 ? since : null,
        });
        const { refused_ids: ids, ...rest } = await purger.purge(
          { archive, sha256, block, below },
          this.options.legal,
        );
        for (const id of ids) refused.add(id);
        const counts = { ...rest, refused_ids: [] };
        purged = sum(purged, counts);
        onDeleted(source, counts);
        done += rows;
        onProgress({ phase, source, month, done, of });
      }
    } finally {
      reader.close();
    }
    if (purged.held + purged.young + purged.kept > 0) this.stuck = true;
    onSettled(sha256, this.noteOf(manifest));
    return purged;
  }

  /** Null while the note can't move. */
  private noteOf({ sequence, sha256 }: Manifest): PurgedNote | null {
    if (this.stuck) return null;
    this.purged = { sequence, sha256 };
    return { sequence, sha256, directory: this.options.archive.directory };
  }

  private async purgerOf(target: Target): Promise<Purger> {
    const known = this.purgers.get(target.source);
    if (known !== undefined) return known;
    const purger = await target.purger();
    this.purgers.set(target.source, purger);
    return purger;
  }
}
