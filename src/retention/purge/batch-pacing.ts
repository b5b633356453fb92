/** Maximum time that the write lock may be held for one commit, ms. */
export const LOCK_LIMIT_MS = 25;
/**
 * Target times of the lock while Postern writes little, and while it writes much. A writer that meets the lock sleeps at least a millisecond
 * (SQLite's busy handler), so a busy Postern must hardly ever meet it. Small deletions that start right after one of its commits finish
 * before the next. p99 of 200 commits/s during the purge, as a multiple of p99 without it, FULL and NORMAL: with 5 ms 6.4 and 17, with
 * 1.5 ms 2.1 and 2.1, with 0.8 ms 1.4 and 1.9.
 */
const QUIET_MS = 12;
const BUSY_MS = 0.6;
/** While Postern is busy, the share of time in which the purge may hold the lock. From 0.04 to 0.12 Postern's p99 was the same. */
const SHARE = 0.08;
const FEWEST = 4;
const MOST = 2_000;
const FIRST = 64;

/** The cost of a commit. */
export interface Commit {
  readonly rows: number;
  /** How long the write lock was held, ms. */
  readonly lockMs: number;
  /** Another process committed just before: Postern is busy. */
  readonly others: boolean;
}

/**
 * Determines the number of rows in the next commit and the pause before it. Batches grow slowly and shrink at once.
 */
export class Pace {
  private size = FIRST;

  get rows(): number {
    return Math.round(this.size);
  }

  /** @returns the pause before the next commit, ms */
  afterCommit({ rows, lockMs, others }: Commit): number {
    const target = others ? BUSY_MS : QUIET_MS;
    if (rows >= this.size * 0.9 || lockMs > target) {
      const fitting = rows * (target / Math.max(0.2, lockMs));
      // By half at most: one delayed commit says little about the next.
      this.size = Math.min(MOST, Math.max(FEWEST, this.size / 2, Math.min(this.size * 1.25, fitting)));
    }
    return others ? Math.min(lockMs, 2 * target) / SHARE : 1;
  }

  /** Another process held the lock. @returns the pause before the next attempt, ms */
  afterBusy(): number {
    return 2;
  }
}
