import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AuditdError, codeOf, messageOf } from '../../errors.js';
import Database from '../../load-sqlite.js';
import { asOwner } from '../../shipping/as-owner.js';
import { fsyncDirectory } from './archive-files.js';
import { checkArchive } from './compare-file.js';
import type { Manifest } from './manifest.js';
import { readLines } from './read.js';
import { RestoredTable } from './restore-target.js';
import { LineCodec } from './row-codec.js';

export interface RestoreOptions {
  /** The directory of the archives. */
  readonly directory: string;
  /** The archives to restore. */
  readonly archives: readonly Manifest[];
  /** An existing database, or a new one. */
  readonly database: string;
  /** Null: the table from which the archives were made. */
  readonly table: string | null;
  /** Called after each archive. */
  readonly onProgress?: (rows: number) => void;
}

export interface Restored {
  /** Restored rows. */
  readonly restored: number;
  /** Rows that already existed unchanged. */
  readonly skipped: number;
}

/** Postern may have a short transaction open. */
const BUSY_MS = 10_000;

/**
 * Restores rows, all or none. A new database gets its name when its content is complete and durable; an existing one is changed in one
 * transaction. Restoring twice changes nothing.
 *
 * @throws AuditdError `ARCHIVE_BROKEN`; `ARCHIVE_FAILED` if a different row has one of the ids, or the database can't be written
 */
export function restoreArchives(options: RestoreOptions): Restored {
  const steps = restoreInSteps(options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * The same in steps. Ending it between two steps (`return()`) leaves nothing behind: the transaction is rolled back, and new files are
 * removed.
 *
 * @throws as `restoreArchives`
 */
export function* restoreInSteps(options: RestoreOptions): Generator<void, Restored, void> {
  for (const manifest of options.archives) {
    yield;
    checkArchive(options.directory, manifest);
  }
  try {
    return yield* existsSync(options.database) ? intoExisting(options) : intoNew(options);
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    const next =
      codeOf(error) === 'SQLITE_BUSY'
        ? 'Try again when no other program is using it'
        : 'Name another table with --table or file with --into, or make room there';
    const what = `${options.database} can't be written, so nothing was restored: ${messageOf(error)}`;
    throw new AuditdError('ARCHIVE_FAILED', what, { next, cause: error });
  }
}

function* intoExisting(options: RestoreOptions): Generator<void, Restored, void> {
  // A hot journal is rolled back as the database's owner: root would delete any file that the journal's writer named in it.
  asOwner(options.database, () => {
    const first = new Database(options.database, { fileMustExist: true, timeout: BUSY_MS });
    try {
      first.exec('BEGIN IMMEDIATE; ROLLBACK');
    } finally {
      first.close();
    }
  });
  const db = new Database(options.database, { fileMustExist: true, timeout: BUSY_MS });
  try {
    db.pragma('foreign_keys = OFF'); // the user of an old row may be deleted; can't be set inside a transaction
    return yield* inTransaction(db, options);
  } finally {
    db.close();
  }
}

function* intoNew(options: RestoreOptions): Generator<void, Restored, void> {
  const { database } = options;
  const temporary = join(dirname(database), `.${basename(database)}.${randomBytes(6).toString('hex')}.tmp`);
  closeSync(openSync(temporary, 'wx', 0o640));
  try {
    const db = new Database(temporary);
    let restored: Restored;
    try {
      db.pragma('journal_mode = OFF');
      db.pragma('synchronous = OFF');
      restored = yield* inTransaction(db, options);
    } finally {
      db.close();
    }
    const fd = openSync(temporary, 'r');
    fsyncSync(fd);
    closeSync(fd);
    linkSync(temporary, database); // unlike rename, never replaces a file created in the meantime
    rmSync(temporary);
    fsyncDirectory(dirname(database));
    return restored;
  } finally {
    rmSync(temporary, { force: true });
  }
}

function* inTransaction(db: Database, options: RestoreOptions): Generator<void, Restored, void> {
  db.exec('BEGIN IMMEDIATE');
  try {
    const restored = yield* restoreRows(db, options);
    db.exec('COMMIT');
    return restored;
  } finally {
    if (db.inTransaction) db.exec('ROLLBACK');
  }
}

function* restoreRows(
  db: Database,
  { directory, archives, table, onProgress }: RestoreOptions,
): Generator<void, Restored, void> {
  db.pragma('ignore_check_constraints = ON'); // Postern accepted these rows before
  let restored = 0;
  let skipped = 0;
  for (const manifest of archives) {
    const codec = new LineCodec(manifest.columns.map(({ name }) => name));
    const name = table ?? manifest.table;
    const siblings = archives.filter((other) => (table ?? other.table) === name);
    const target = new RestoredTable(db, name, manifest, codec, siblings);
    for (const lines of readLines(directory, manifest)) {
      yield;
      for (const line of lines) {
        if (target.restoreRow(line)) restored++;
        else skipped++;
      }
    }
    onProgress?.(restored + skipped);
  }
  return { restored, skipped };
}
