import { accessSync, closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from '../errors.js';
import Database from '../load-sqlite.js';
import { type FileState, stateOfFiles } from './file-state.js';
import { isHeldForWriting } from './locks.js';
import { isMountPoint } from './mounts.js';
import { type Waiting, waiting } from './source.js';
import {
  cantOpen,
  exclusive,
  hasShm,
  missing,
  mountedAlone,
  notAFile,
  systemProblem,
  waitingFor,
} from './waiting-reasons.js';

/** The outcome of an attempt to read the database in place. */
export type Attempt<T> =
  /** `files`: their state before the read. */
  | { readonly kind: 'done'; readonly value: T; readonly files: FileState }
  /** The files were changing: retry at once. `waiting` is the state if retries do not help. */
  | { readonly kind: 'again'; readonly waiting: Waiting }
  /** Only its writer could open it: a copy may work. */
  | { readonly kind: 'cold'; readonly files: FileState; readonly waiting: Waiting }
  | { readonly kind: 'waiting'; readonly waiting: Waiting };

export type Work<T> = (db: Database) => T;

/**
 * How long SQLite may wait for a lock. In WAL mode a reader waits for nothing but a recovery and a last close; with a
 * rollback journal, for a commit. The thread is blocked in the meantime.
 */
const BUSY_MS = 25;

/** Opens the database in place, for reading only, does the work in one read transaction and closes it. */
export function readInPlace<T>(database: string, work: Work<T>): Attempt<T> {
  let files: FileState | null;
  try {
    files = stateOfFiles(database);
  } catch (error) {
    return { kind: 'waiting', waiting: systemProblem(database, error) };
  }
  closeStaleHeader(database, files);
  if (files === null) return { kind: 'waiting', waiting: missing(database) };
  if (!files.isFile) return { kind: 'waiting', waiting: notAFile(database) };
  if (isMountPoint(files.path)) return { kind: 'waiting', waiting: mountedAlone(database, files) };
  if (openWouldCreateWal(database, files)) {
    const isExclusive = files.walSize !== null && isHeldForWriting(files.inode);
    if (isExclusive) return { kind: 'waiting', waiting: exclusive(database) };
    return { kind: 'cold', files, waiting: cantOpen(files) };
  }
  try {
    const value = readOnce(files.path, true, work);
    return isSameFile(database, files)
      ? { kind: 'done', value, files }
      : {
          kind: 'again',
          waiting: waiting('recovering', `${database} is being replaced`),
        };
  } catch (error) {
    return attemptOf(database, files, error);
  }
}

/** One connection, one read transaction. A lock error is thrown before the work begins, because some of its steps can't be repeated. */
export function readOnce<T>(path: string, readonly: boolean, work: Work<T>): T {
  const db = new Database(path, { readonly, fileMustExist: true, timeout: BUSY_MS });
  try {
    db.exec('BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1'); // BEGIN alone takes no lock
    return work(db);
  } finally {
    db.close(); // ends the transaction
  }
}

function isSameFile(database: string, before: FileState): boolean {
  const after = statSync(database, { bigint: true, throwIfNoEntry: false });
  return (
    after !== undefined &&
    String(after.ino) === before.inode &&
    String(after.birthtimeNs) === before.birthTime
  );
}

/**
 * In a writable directory, SQLite would create `-wal` and `-shm` files for a database in WAL mode without them, and leave them there. Owned
 * by us, they would lock Postern out. Such a database is not opened.
 * Behind a read-only mount this never occurs, and the check costs nothing while Postern runs.
 */
function openWouldCreateWal(database: string, files: FileState): boolean {
  if (files.walSize !== null && hasShm(files)) return false;
  try {
    accessSync(dirname(files.path), constants.W_OK);
  } catch {
    return false;
  }
  return isWal(database, files.path);
}

/** Open headers, by database path. The descriptor stays open: closing one drops all locks of this process on the file, even those of other threads. */
const headers = new Map<string, { readonly file: string; readonly descriptor: number }>();

/** Closes the header of a file that was deleted or replaced: an open one would keep its disk space in use. */
function closeStaleHeader(database: string, files: FileState | null): void {
  const known = headers.get(database);
  if (known === undefined || (files !== null && known.file === `${files.device}:${files.inode}`)) return;
  headers.delete(database);
  closeSync(known.descriptor);
}

/** Byte 18 of the header is 2 for WAL. */
function isWal(database: string, path: string): boolean {
  const header = Buffer.alloc(20);
  try {
    let known = headers.get(database);
    if (known === undefined) {
      const descriptor = openSync(path, 'r');
      const { dev, ino } = fstatSync(descriptor, { bigint: true });
      known = { file: `${dev}:${ino}`, descriptor };
      headers.set(database, known);
    }
    readSync(known.descriptor, header, 0, header.length, 0);
  } catch {
    return false; // SQLite will get and report the same error
  }
  return header[18] === 2;
}

function attemptOf<T>(database: string, files: FileState, error: unknown): Attempt<T> {
  const code = codeOf(error) ?? '';
  const waiting = waitingFor(database, files, error);
  if (code === 'SQLITE_READONLY_RECOVERY' || code === 'SQLITE_SCHEMA' || code === 'SQLITE_READONLY_DBMOVED') {
    return { kind: 'again', waiting };
  }
  if (waiting.state === 'stopped' || code === 'SQLITE_READONLY_ROLLBACK')
    return { kind: 'cold', files, waiting };
  return { kind: 'waiting', waiting };
}
