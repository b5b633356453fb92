import { closeSync, existsSync, fsyncSync, openSync, realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClassifier } from '../../audit/catalog.js';
import type { Config } from '../../config/schema.js';
import { AuditdError, codeOf, messageOf } from '../../errors.js';
import Database from '../../load-sqlite.js';
import { allowReading, sentence } from '../../next-steps.js';
import { keepsWriterOut } from '../../source/journal-mode.js';
import { isMountPoint } from '../../source/mounts.js';
import { type AuditTable, quoteIdentifier, TableCache } from '../../source/table-schema.js';
import { mountedAlone } from '../../source/waiting-reasons.js';
import type { ArchivedRow } from '../archive/row-codec.js';
import { TableRows } from '../archive/table-rows.js';
import { checkDeletable } from '../deletable.js';
import { sourceUnusable } from '../error-parts.js';
import { anotherFile, type FileIdentity, isFileAt } from '../file-identity.js';
import { type LegalHolds, type LegalWatch, legalRowOf } from '../legal-holds.js';
import { eligibilityOf, type Moment, mayGoEarly, momentOf } from '../policy.js';
import { RowEligibility } from '../row-eligibility.js';
import { Pace } from './batch-pacing.js';
import { type FreedSpace, NOTHING, type Purged, sum } from './protocol.js';
import { rowHash } from './row-hash.js';
import { tryDelete } from './trial-delete.js';
import { shrinkFile } from './vacuum.js';

/** A connection is closed after this time, so that Postern can stop or be restored. */
const OPEN_MS = 200;
/** Attempts to get a lock held by another process, before waiting for it. */
const TRIES = 3;
const BUSY_MS = 1_000;
/** How long to wait for another process's commit, ms, to start directly after it. */
const TURN_MS = 20;

export interface DeleterOptions {
  readonly config: Pick<Config, 'source' | 'retention'>;
  readonly clock: () => number;
  /** The largest row that can be archived, in octets. */
  readonly largest?: number;
}

/** A row as archived. */
interface HashedRow {
  readonly id: number;
  readonly hash: string;
}

interface OpenTable {
  readonly db: Database;
  readonly table: AuditTable;
  readonly rows: TableRows;
  readonly moment: Moment;
  readonly newestId: number;
  readonly legal: LegalWatch;
  version: unknown;
}

interface Classified extends Pick<Purged, 'gone' | 'differ' | 'young' | 'legal_hold'> {
  readonly going: readonly number[];
  /** The ids counted in `young`. */
  readonly refused: readonly number[];
  /** How many more rows may be deleted before their age. */
  readonly early: number;
}

/** A record of legal holds was added while rows that it may cover were being deleted. */
class HoldsChanged extends Error {}

/**
 * Deletes archived rows from Postern's table, and nothing else. A row is deleted only if every column equals the archived one, this
 * process's own reading of the configuration allows it, the row is a day old, and no legal hold covers it. The newest row is never
 * deleted, because the daemon recognises the history by it.
 *
 * A row is read and compared without the write lock. The lock is taken only if nobody has written since (SQLite refuses it otherwise), so
 * that one transaction sees the row and deletes it. A row counts as deleted if SQLite reports it so and it is gone afterwards.
 */
export class Deleter {
  private readonly tables: TableCache;
  private readonly eligibility: RowEligibility;
  private readonly pace = new Pace();
  /** How many rows may be deleted before their age; null until counted. */
  private early: number | null = null;

  constructor(private readonly options: DeleterOptions) {
    const { source } = options.config;
    this.tables = new TableCache(source);
    this.eligibility = new RowEligibility(source, createClassifier(source.aliases));
  }

  /**
   * @param archived a block of an archive, read by this process
   * @param options `below`: rows with this id or a higher one stay; `file`: the database of the rows; null: any
   * @throws AuditdError `SOURCE_UNUSABLE` if deletion is impossible, or it is a different database; what `LegalWatch` throws
   */
  async delete(
    archived: readonly ArchivedRow[],
    {
      below,
      file,
      legal,
    }: { readonly below: number; readonly file: FileIdentity | null; readonly legal: LegalWatch },
  ): Promise<Purged> {
    const doomed = archived
      .filter(({ id }) => id < below)
      .map((row): HashedRow => ({ id: row.id, hash: rowHash(row) }));
    let purged: Purged = { ...NOTHING, held: archived.length - doomed.length };
    for (let at = 0; at < doomed.length; ) {
      const open = { ...this.open(file), legal };
      try {
        const end = performance.now() + OPEN_MS;
        do {
          const batch = doomed.slice(at, at + this.pace.rows);
          const done = await this.deleteBatch(open, batch);
          purged = sum(purged, done);
          at += batch.length;
        } while (at < doomed.length && performance.now() < end);
      } catch (error) {
        throw unusable(this.options.config.source.database, error);
      } finally {
        close(open.db);
      }
    }
    return purged;
  }

  /**
   * Deletes the oldest rows and rolls back: rows that can't be removed must not be archived.
   *
   * @throws as `delete`; also if a trigger prevents all deletions
   */
  async probe(file: FileIdentity | null = null): Promise<Purged> {
    const { db, table } = this.open(file);
    try {
      db.exec('BEGIN IMMEDIATE');
      try {
        tryDelete(db, table, this.options.config.source.columns.id);
      } finally {
        if (db.inTransaction) db.exec('ROLLBACK');
      }
      return NOTHING;
    } catch (error) {
      throw unusable(this.options.config.source.database, error);
    } finally {
      close(db);
    }
  }

  /** Returns free pages to the file system where the database has `auto_vacuum = incremental`. */
  async shrink(): Promise<FreedSpace> {
    const { database } = this.options.config.source;
    const { db } = this.open(null);
    try {
      return await shrinkFile(db, this.pace);
    } catch (error) {
      throw unusable(database, error);
    } finally {
      close(db);
      syncWal(database);
    }
  }

  private open(file: FileIdentity | null): Omit<OpenTable, 'legal'> {
    const { config, clock } = this.options;
    const { database } = config.source;
    let db: Database | null = null;
    checkMount(database);
    try {
      db = new Database(database, { fileMustExist: true, timeout: BUSY_MS });
      if (file !== null && !isFileAt(database, file)) throw sourceUnusable(anotherFile(database));
      // The next run repeats a deletion that a power loss undid (run.ts): its rows are archived. NORMAL spares Postern the wait for
      // this process's fsync under the lock.
      db.pragma('synchronous = NORMAL');
      db.pragma('wal_autocheckpoint = 0');
      const table = this.tables.get(db);
      if ('state' in table) throw sourceUnusable({ ...table, what: `${database}: ${table.what}` });
      checkDeletable(db, table);
      const newest = this.eligibility.newestRow(db, table);
      const nobody = { identify: () => ({ id: '', length: 0 }) };
      const rows = new TableRows(db, config.source, nobody, this.tables, this.options.largest);
      this.early ??= this.countExcess(db, table);
      const moment = momentOf(clock(), newest.time);
      return { db, table, rows, moment, newestId: newest.id, version: dataVersion(db) };
    } catch (error) {
      db?.close();
      throw unusable(database, error);
    }
  }

  /** Rows above `max_rows`; `max_size` is left to the archiving side. */
  private countExcess(db: Database, table: AuditTable): number {
    const { max_rows: maxRows, max_size: maxSize } = this.options.config.retention;
    if (maxSize !== null) return Number.POSITIVE_INFINITY;
    if (maxRows === null) return 0;
    const rows = Number(
      db
        .prepare(`SELECT count(*) FROM ${quoteIdentifier(table.name)}`)
        .pluck()
        .get(),
    );
    return Math.max(0, rows - maxRows);
  }

  private async deleteBatch(open: OpenTable, batch: readonly HashedRow[]): Promise<Purged> {
    const { db } = open;
    for (let busy = 0; ; ) {
      const others = (await this.waitForCommit(open)) || busy > 0;
      try {
        const { purged, lockMs } = this.tryBatch(open, batch, busy >= TRIES);
        if (lockMs === 0) return { ...purged, busy };
        const pause = this.pace.afterCommit({ rows: purged.deleted + purged.kept, lockMs, others });
        if (others) checkpoint(db);
        await sleep(pause);
        return { ...purged, busy };
      } catch (error) {
        if (db.inTransaction) db.exec('ROLLBACK');
        if (error instanceof HoldsChanged) continue;
        if (codeOf(error)?.startsWith('SQLITE_BUSY') !== true || busy > 10 * TRIES) throw error;
        busy++;
        await sleep(this.pace.afterBusy());
      }
    }
  }

  /**
   * Waits briefly for another process's commit: directly after it, the next one is furthest away.
   * @returns false if there was none: there are few writes
   */
  private async waitForCommit(open: OpenTable): Promise<boolean> {
    const end = performance.now() + TURN_MS;
    open.version = dataVersion(open.db);
    do {
      await sleep(1);
      if (dataVersion(open.db) !== open.version) return true;
    } while (performance.now() < end);
    return false;
  }

  private tryBatch(
    open: OpenTable,
    batch: readonly HashedRow[],
    wait: boolean,
  ): { purged: Purged; lockMs: number } {
    const { db, table, legal } = open;
    const holds = legal.current;
    let locked = performance.now();
    db.exec(wait ? 'BEGIN IMMEDIATE' : 'BEGIN');
    if (wait) locked = performance.now();
    const { going, refused, early, ...stayed } = this.classify(open, holds, batch);
    const id = quoteIdentifier(this.options.config.source.columns.id);
    const name = quoteIdentifier(table.name);
    const kept: number[] = [];
    if (going.length > 0) {
      const statement = db.prepare(`DELETE FROM ${name} WHERE ${id} = ?`);
      if (!wait && !keepsWriterOut(db)) locked = performance.now();
      for (const each of going) if (statement.run(each).changes === 0) kept.push(each);
    }
    // A hold added since may cover these rows: the transaction must not commit.
    if (going.length > 0 && legal.isChanged()) throw new HoldsChanged();
    db.exec('COMMIT');
    const lockMs = going.length > 0 || wait ? performance.now() - locked : 0;
    this.early = early;
    // A trigger may have put a row back. Nothing else can: an id is not reused, least of all this quickly.
    const isThere = db.prepare(`SELECT 1 FROM ${name} WHERE ${id} = ?`);
    for (const each of going) if (!kept.includes(each) && isThere.get(each) !== undefined) kept.push(each);
    const purged: Purged = {
      ...NOTHING,
      ...stayed,
      deleted: going.length - kept.length,
      kept: kept.length,
      refused_ids: [...refused, ...kept],
      lock_ms: lockMs,
      commits: 1,
    };
    return { purged, lockMs };
  }

  /** Which rows of a batch may be deleted, and how many stay for which reason; in the transaction that deletes them. */
  private classify(
    { rows, moment, newestId }: OpenTable,
    holds: LegalHolds,
    batch: readonly HashedRow[],
  ): Classified {
    const { keep } = this.options.config.retention;
    const found = new Map(rows.byIds(batch.map(({ id }) => id)).map((row) => [row.id, row]));
    let [gone, differ, held] = [0, 0, 0];
    let early = this.early ?? 0;
    const going: number[] = [];
    const refused: number[] = [];
    for (const { id, hash } of batch) {
      const row = found.get(id);
      // The archived row was smaller: the row was edited since.
      if (row === undefined && rows.isTooLarge(id)) differ++;
      else if (row === undefined) gone++;
      else if (rowHash(row) !== hash) differ++;
      else if (holds.hasAny && holds.covers(legalRowOf(row.known, row.time))) held++;
      else {
        const aged = this.eligibility.readRow(row);
        const fate = eligibilityOf(aged, keep, moment);
        const isEarly = mayGoEarly(fate, aged.time, moment) && early > 0;
        const goes = id !== newestId && (fate === 'old' || isEarly);
        if (goes && fate !== 'old') early--;
        (goes ? going : refused).push(id);
      }
    }
    return { going, refused, early, gone, differ, young: refused.length, legal_hold: held };
  }
}

/** If the file is mounted without its directory, SQLite would write a journal that Postern never sees. */
function checkMount(database: string): void {
  if (!existsSync(database)) return;
  const path = realpathSync(database);
  if (isMountPoint(path)) throw sourceUnusable(mountedAlone(database, { path }));
}

/** Checkpoints the WAL, so that none of Postern's commits has to. Does not wait for locks. */
function checkpoint(db: Database): void {
  db.pragma('wal_checkpoint(PASSIVE)');
}

function close(db: Database): void {
  try {
    checkpoint(db);
  } finally {
    db.close();
  }
}

/** Changes with each commit of another connection. */
function dataVersion(db: Database): unknown {
  return db.pragma('data_version', { simple: true });
}

/** Makes deletions durable, so that a power loss restores no row of a finished archive. Reading `-wal` drops no locks. */
function syncWal(database: string): void {
  let fd: number;
  try {
    fd = openSync(`${realpathSync(database)}-wal`, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return; // checkpointed by the last close, or not in WAL mode
    throw error;
  }
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function unusable(database: string, error: unknown): AuditdError {
  if (error instanceof AuditdError) return error;
  const next =
    codeOf(error)?.startsWith('SQLITE_BUSY') === true
      ? 'Find the program that has locked it for so long; the next run tries again'
      : sentence(allowReading(database, 'determines who may write it'));
  const what = messageOf(error);
  return new AuditdError('SOURCE_UNUSABLE', `No rows can be removed from ${database}: ${what}`, {
    next,
    cause: error,
  });
}
