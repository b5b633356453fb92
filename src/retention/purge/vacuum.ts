import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import { codeOf } from '../../errors.js';
import type { Pace } from './batch-pacing.js';
import type { FreedSpace } from './protocol.js';

const MODES = ['none', 'full', 'incremental'] as const;
const FIRST_PAGES = 16;
const MOST_PAGES = 512;
const TARGET_MS = 8;
/** Attempts to get a lock held by another process. Remaining free pages are left to the next run. */
const TRIES = 100;

/** Truncates free pages from the file, a few per commit, if the database has `auto_vacuum = incremental`. */
export async function shrinkFile(db: Database, pace: Pace): Promise<FreedSpace> {
  const mode = MODES[Number(db.pragma('auto_vacuum', { simple: true }))] ?? 'none';
  const free = () => Number(db.pragma('freelist_count', { simple: true }));
  const pageSize = Number(db.pragma('page_size', { simple: true }));
  let longest = 0;
  let pages = FIRST_PAGES;
  for (let tries = 0; mode === 'incremental' && free() > 0 && tries < TRIES; ) {
    const begin = performance.now();
    try {
      db.exec(`PRAGMA incremental_vacuum(${Math.round(pages)})`);
    } catch (error) {
      if (codeOf(error)?.startsWith('SQLITE_BUSY') !== true) throw error;
      tries++;
      await sleep(pace.afterBusy());
      continue;
    }
    const took = performance.now() - begin;
    longest = Math.max(longest, took);
    pages = Math.min(MOST_PAGES, Math.max(1, Math.min(pages * 1.25, pages * (TARGET_MS / took))));
    await sleep(Math.max(2, 2 * took));
  }
  return { auto_vacuum: mode, free_bytes: free() * pageSize, lock_ms: longest };
}
