import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Options } from 'better-sqlite3';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import Database from '../load-sqlite.js';

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * Runs `work` on a file or database of another user as that user, if this is root. A user who can write there may have prepared links, or a
 * journal in whose name SQLite deletes a file: so `work` reaches only what that user reaches anyway.
 *
 * The identity is the whole process's, all threads of it, while `work` runs: it may not be asynchronous.
 *
 * @throws AuditdError `STATE_UNUSABLE` where it can't be told whose it is; what `work` throws
 */
export function asOwner<T>(path: string, work: () => T): T {
  if (process.geteuid?.() !== 0) return work();
  const owner = ownerOf(path);
  if (owner === null || owner.uid === 0) return work();
  return asUser({ ...owner, groups: [owner.gid] }, work, `${path} belongs to uid ${owner.uid}`);
}

export interface UserIds {
  readonly uid: number;
  readonly gid: number;
  /** All of them. */
  readonly groups: readonly number[];
}

/**
 * Does something as another user, with that user's rights alone. This has to be root.
 *
 * @param why for the message where the system does not let root do that
 * @throws AuditdError `STATE_UNUSABLE`; what `work` throws
 */
export function asUser<T>(
  { uid, gid, groups: theirs }: UserIds,
  work: () => T,
  why = `the daemon is uid ${uid}`,
): T {
  const group = process.getegid?.() ?? 0;
  const groups = process.getgroups?.() ?? [];
  new Database(':memory:').close(); // loads SQLite, which that user may not be able to read
  try {
    process.setgroups?.([...theirs]);
    process.setegid?.(gid);
    process.seteuid?.(uid);
  } catch (error) {
    returnToRoot(group, groups);
    throw unusable(`${why}, and root may not act as that user here: ${messageOf(error)}`);
  }
  try {
    return work();
  } finally {
    returnToRoot(group, groups);
  }
}

function returnToRoot(group: number, groups: number[]): void {
  process.seteuid?.(0);
  process.setegid?.(group);
  process.setgroups?.(groups);
}

/** Null if it is not there. A file of root's must be where only root can replace it. */
function ownerOf(path: string): { uid: number; gid: number } | null {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return null;
  if (entry.isSymbolicLink() && entry.uid !== 0) throw foreignFile(path, 'a link');
  const { uid, gid, mode } = statSync(path);
  if (uid !== 0) return { uid, gid };
  if ((mode & OTHERS_WRITE) !== 0) throw unusable(`${path} is root's, but others may write to it`);
  for (let at = dirname(realpathSync(path)); ; at = dirname(at)) {
    const above = statSync(at);
    const open = (above.mode & OTHERS_WRITE) !== 0 && (above.mode & STICKY) === 0;
    if (above.uid !== 0 || open) throw unusable(`${path} is root's, but others may write to ${at}`);
    if (at === dirname(at)) return { uid, gid };
  }
}

/**
 * Opens a database of the daemon's own. A link (but one of root's) or a second name is refused: it may lead to a database of Postern's.
 *
 * @throws AuditdError `STATE_UNUSABLE`; what SQLite throws
 */
export function openOwn(directory: string, name: string, options: Options): Database {
  const path = join(directory, name);
  mustBeOwn(path);
  const db = new Database(path, options);
  try {
    mustHaveOpened(db, path);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Refuses what openOwn refuses, for callers that open the database themselves. @throws AuditdError `STATE_UNUSABLE` */
export function mustBeOwn(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) mustBeFile(`${path}${suffix}`);
}

/**
 * Checks the opened file, since a link may have been placed after the check before. By then SQLite has resolved links, and has read and written nothing.
 *
 * @throws AuditdError `STATE_UNUSABLE`
 */
export function mustHaveOpened(db: Database, path: string): void {
  const [main] = db.pragma('database_list') as Array<{ file: string }>;
  if (main?.file !== realpathSync(path) || lstatSync(path).nlink !== 1) throw foreignFile(path, 'a link');
  mustBeFile(path);
}

function mustBeFile(path: string): void {
  let entry: ReturnType<typeof lstatSync>;
  try {
    entry = lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (codeOf(error) === 'EACCES') return; // opening says so
    throw error;
  }
  if (entry === undefined || (entry.isSymbolicLink() && entry.uid === 0)) return;
  if (entry.isSymbolicLink()) throw foreignFile(path, 'a link');
  if (!entry.isFile()) throw foreignFile(path, 'not a file');
  if (entry.nlink > 1) throw foreignFile(path, 'a file with a second name (a hard link)');
}

function foreignFile(path: string, what: string): AuditdError {
  return unusable(
    `${path} is ${what}. postern-auditd does not create such a file: somebody else put it there`,
    'Check where it leads, and remove it',
  );
}

function unusable(what: string, next: string | null = null): AuditdError {
  return new AuditdError('STATE_UNUSABLE', what, { next });
}
