import type { Database } from 'better-sqlite3';
import { sleepSync } from '../sleep-sync.js';
import type { FileState } from './file-state.js';

/**
 * With a rollback journal a reader blocks the writer's commit for as long as it reads; with a WAL it does not. If Postern has no busy
 * timeout, its commit fails. So such a database is read in short steps with pauses.
 */
export const SHORT_MS = 2;
/** Rows in one slice of such a step. */
export const SHORT_ROWS = 32;
/** The share of time in which a query or a run of retention may block the writer. */
const SHARE = 0.05;
/** Maximum pause after one step, ms. */
const LONGEST_REST_MS = 250;

export function keepsWriterOut(db: Database): boolean {
  return db.pragma('journal_mode', { simple: true }) !== 'wal';
}

/** The deadline of a step that may take `ms`, by `performance.now()`. */
export function stepEnd(db: Database, ms: number): number {
  return performance.now() + (keepsWriterOut(db) ? Math.min(ms, SHORT_MS) : ms);
}

/** Blocks the calling thread, which must not be the main one, for the pause due after the writer was blocked for `heldMs`. */
export function leaveAlone(heldMs: number): void {
  sleepSync(Math.min(LONGEST_REST_MS, heldMs * (1 / SHARE - 1)));
}

/** A journal this fresh belongs to a transaction that is about to commit. */
const FRESH_MS = 50;
/** Maximum delay of a read: a journal that is never removed, as with `journal_mode=PERSIST`, proves little. */
const PUT_OFF_MS = 50;
const putOff = new Map<string, number>();

/** Whether to delay a read: now it would collide with the commit, and not see its rows. */
export function isCommitting({ path, journalSize, journalChanged }: FileState): boolean {
  const isFresh = journalChanged !== null && Math.abs(Date.now() - journalChanged) < FRESH_MS;
  const now = performance.now();
  const since = putOff.get(path);
  if (
    isFresh &&
    journalSize !== null &&
    journalSize > 0 &&
    (since === undefined || now - since < PUT_OFF_MS)
  ) {
    if (since === undefined) putOff.set(path, now);
    return true;
  }
  putOff.delete(path);
  return false;
}
