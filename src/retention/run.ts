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
/** Large rows are read in smaller pages: each is in memory several times, as read and as written. */
const SLICE_BYTES = 8 * 2 ** 20;

/** A table from which rows are removed. */
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
  /** What was delivered from it; null: unknown. */
  readonly delivered: DeliveredRows | null;
  /** The largest row that is archived, in octets; omitted: the technical limit. */
  readonly largest?: number;
}

export interface RunOptions {
  readonly targets: readonly Target[];
  readonly archive: Config['retention']['archive'];
  readonly minFree: number;
  readonly sourceId: string;
  /** A name of the run, shown to people. */
  readonly run: string;
  readonly sign: KeyObject | null;
  readonly purged: PurgedNote | null;
  /** The records of removed archives, the oldest first. */
  readonly removals: readonly Removal[];
  /** Records of legal holds that must exist, as in state.db. */
  readonly legal: readonly KnownRecord[];
  readonly clock: () => number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RunProgress) => void;
  readonly onArchived: (archived: Archived) => void;
  /** Called after each request to the purge: deleted rows are gone even if the run fails later. */
  readonly onDeleted: (source: PublicSource, purged: Purged) => void;
  /** Archives whose deletion was begun and not finished. */
  readonly unsettled: readonly string[];
  /** Called before each request to the purge; resolves when the intent is durable. */
  readonly onPurging: (step: PurgeStep) => Promise<void>;
  /** Called when the deletion of every block was requested. Null: some rows of this archive, or of an earlier one, must stay for now. */
  readonly onSettled: (sha256: string, note: PurgedNote | null) => void;
  readonly onAnchor: (note: AnchorNote) => void;
  /** Called with the archives past their age and the newest hold record seen. Resolves with the recorded decision of what to remove; null: nothing. */
  readonly onExpired: (expired: readonly ExpiredArchive[], holds: string | null) => Promise<Removal | null>;
  /** Every deletable row of this archive and of those before it is deleted. */
  readonly onPurged: (note: PurgedNote) => void;
}

export interface RunProgress {
  readonly phase: 'resuming' | 'looking' | 'archiving' | 'purging';
  readonly source: PublicSource;
  /** Month of the archive; null in a step that is about no single archive. */
  readonly month: string | null;
  readonly done: number;
  readonly of: number;
}

/** An archive that was just written. */
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
  /** Archives removed because of their age. */
  readonly expired: number;
  /** Rows that an earlier run had archived and not deleted. */
  readonly resumed: Purged;
  readonly targets: readonly TargetResult[];
}

/**
 * One run: finish what the previous run left, find the deletable rows, archive them by month, and have the purge delete them.
 *
 * Deletion reads the rows from the finished archive file, so that only archived rows are deleted. A crash between the two leaves an
 * archive after the note (`PurgedNote`). The next run deletes its rows before it looks for others. So no row is archived twice, except
 * one that was under a legal hold in between.
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
  /** Some rows of an archive have to stay for now: the note can't move past it. */
  private stuck = false;
  /** The newest archive whose rows are all deleted from the table, with the hash in its manifest. */
  private purged: ChainHead = BEGINNING;
  /** Rows that the purge or SQLite did not delete in this run. They are archived already and are not archived again by each run. */
  private readonly refused = new Map<PublicSource, Set<number>>();
  /** The time from which ages of Postern's rows are counted; undefined until it was determined. */
  private reference: number | null | undefined;
  /** Of the first archive written by this run. */
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
    // The note does not apply to another chain.
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

  /** An archive of this state.db. The daemon may have crashed before it recorded the archive's contents. */
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
      // A wrong clock affects our own events at once: their ages are counted from Postern's newest row, too.
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
    // Rows that could not be removed are not archived.
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

  /** Removes archives past their age, except those whose rows may still be in the table and those of this run. */
  async expire(): Promise<number> {
    const { archive, sign, clock, onExpired } = this.options;
    const { directory, keep } = archive;
    const archives = expirable(directory, this.begin, this.purged).filter(
      ({ sequence }) => sequence < this.firstMade,
    );
    const upTo = expiredUpTo(archives, keep, clock());
    const holds = this.legal.readHolds();
    const past = archives.filter(({ sequence }) => sequence <= upTo);
    // A hold kept archives after their removal was decided. They still exist, and a later removal would include them.
    const expired = this.legal.isFree(this.begin.sequence) ? this.legal.beforeHeld(past, holds) : [];
    const removal = await onExpired(expired.map(expiredArchiveOf), holds.head);
    if (removal === null || !expired.some(({ sequence }) => sequence === removal.sequence)) return 0;
    // A hold was created after the decision: every archive stays until a run finds the hold released.
    if (this.legal.readHolds().head !== holds.head && !this.legal.isFree(removal.sequence)) return 0;
    removeArchives(directory, removal, sign);
    return expired.filter(({ sequence }) => sequence <= removal.sequence).length;
  }

  close(): void {
    for (const purger of this.purgers.values()) purger.close();
  }

  /** Null if no row is present and unchanged. */
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

  /** @param change known only to the run that wrote the archive; omitted: the archive existed before */
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

  /** Null while the note must not move. */
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
