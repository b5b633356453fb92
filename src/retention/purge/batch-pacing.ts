/** Longest that the write lock may be held for one commit, ms. */
export const LOCK_LIMIT_MS = 25;
/**
 * What is aimed at while Postern writes little, and while it writes much. Whoever meets the lock sleeps a millisecond at least (SQLite's busy
 * handler), so a busy Postern must hardly ever meet it: small deletions, begun right behind one of its commits, are over before the
 * next. p99 of 200 commits/s beside the purge, in times of that without, FULL and NORMAL: with 5 ms 6.4 and 17, 1.5 ms 2.1 and 2.1,
 * 0.8 ms 1.4 and 1.9.
 */
const QUIET_MS = 12;
const BUSY_MS = 0.6;
/** Beside a busy Postern, the part of the time in which the lock may be ours. From 0.04 to 0.12 its p99 was the same. */
const SHARE = 0.08;
const FEWEST = 4;
const MOST = 2_000;
const FIRST = 64;

/** What a commit cost. */
export interface Commit {
  readonly rows: number;
  /** How long the write lock was held, ms. */
  readonly lockMs: number;
  /** Another process committed just before: Postern is busy. */
  readonly others: boolean;
}

/**
 * How many rows to delete in the next commit, and how long to leave the lock alone before it. Batches grow slowly and shrink
 * at once.
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
      // Half at most: one commit that this process was kept from finishing says little of the next.
      this.size = Math.min(MOST, Math.max(FEWEST, this.size / 2, Math.min(this.size * 1.25, fitting)));
    }
    return others ? Math.min(lockMs, 2 * target) / SHARE : 1;
  }

  /** Another process held the lock. @returns the pause before the next attempt, ms */
  afterBusy(): number {
    return 2;
  }
}
