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
  /** Of the archives. */
  readonly directory: string;
  /** Which of them. */
  readonly archives: readonly Manifest[];
  /** A database that is there, or a new one. */
  readonly database: string;
  /** Null: the one that the archives were made of. */
  readonly table: string | null;
  /** After each archive. */
  readonly onProgress?: (rows: number) => void;
}

export interface Restored {
  /** Rows that were put in. */
  readonly restored: number;
  /** Rows that were there already, just as they are. */
  readonly skipped: number;
}

/** Postern may have a short transaction open. */
const BUSY_MS = 10_000;

/**
 * Puts rows back, all or none. A new database has its name when everything is in it and on the medium; in one that is
 * there it is one transaction. A second time changes nothing.
 *
 * @throws AuditdError `ARCHIVE_BROKEN`; `ARCHIVE_FAILED` if a row with one of the ids is another one, or the database can't be written
 */
export function restoreArchives(options: RestoreOptions): Restored {
  const steps = restoreInSteps(options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * The same in steps. Whoever ends it between two of them (`return()`) leaves nothing of it behind: what was begun is rolled back, and what
 * was made removed.
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
  // What a journal beside it leaves to be done is done as the database's owner: root would delete what its writer has named in it.
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
    db.pragma('foreign_keys = OFF'); // the user of an old row may be gone; inside a transaction it can't be set
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
    linkSync(temporary, database); // unlike a rename, not over a file that somebody has put there meanwhile
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
  db.pragma('ignore_check_constraints = ON'); // what Postern has accepted once
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
