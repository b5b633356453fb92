import type { Database } from 'better-sqlite3';
import { sleepSync } from '../sleep-sync.js';
import type { FileState } from './file-state.js';

/**
 * With a rollback journal a reader keeps the writer from committing for as long as it reads; with a WAL it does not. Where Postern
 * has no busy time-out its commit fails then. So what is read from such a database is read in steps as short as these, with pauses.
 */
export const SHORT_MS = 2;
/** Rows in one slice of such a step. */
export const SHORT_ROWS = 32;
/** Of the time, the part in which a query or a run of retention may keep the writer out. */
const SHARE = 0.05;
/** Who asks waits no longer than this after one step, ms. */
const LONGEST_REST_MS = 250;

export function keepsWriterOut(db: Database): boolean {
  return db.pragma('journal_mode', { simple: true }) !== 'wal';
}

/** For a step that may take `ms`: until when it may read, of `performance.now()`. */
export function stepEnd(db: Database, ms: number): number {
  return performance.now() + (keepsWriterOut(db) ? Math.min(ms, SHORT_MS) : ms);
}

/** For a thread of its own: stands still for as long as the writer has to be left alone after it was kept out for `heldMs`. */
export function leaveAlone(heldMs: number): void {
  sleepSync(Math.min(LONGEST_REST_MS, heldMs * (1 / SHARE - 1)));
}

/** A journal that is as fresh as this is that of a transaction that is about to be committed. */
const FRESH_MS = 50;
/** Where a journal stays, as with `journal_mode=PERSIST`, it says little: so long a look is put off, and no longer. */
const PUT_OFF_MS = 50;
const putOff = new Map<string, number>();

/** Whether to look a moment later: now a look could only meet the commit, and would not see it. */
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
