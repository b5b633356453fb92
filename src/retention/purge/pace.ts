/** Longest that the write lock may be held for one commit, ms. */
export const LOCK_LIMIT_MS = 25;
/** What is aimed at: while nobody else writes, and while somebody does. */
const ALONE_MS = 12;
const AMONG_OTHERS_MS = 3;
const FEWEST = 8;
const MOST = 2_000;
const FIRST = 64;

/** What a commit cost. */
export interface Commit {
  readonly rows: number;
  /** How long the write lock was held, ms. */
  readonly lockMs: number;
  /** Somebody else has committed since the last one. */
  readonly others: boolean;
}

/**
 * How many rows to delete in the next commit, and how long to leave the lock alone before it. Batches grow slowly and shrink
 * at once; beside a busy Postern the lock is ours for a small part of the time only.
 */
export class Pace {
  private size = FIRST;
  /** Commits since somebody else was seen. */
  private alone = Number.POSITIVE_INFINITY;

  get rows(): number {
    return Math.round(this.size);
  }

  /** While others write: is it worth waiting for their next commit, so as not to be in its way? */
  get amongOthers(): boolean {
    return this.alone < 20;
  }

  /** @returns the pause before the next commit, ms */
  after({ rows, lockMs, others }: Commit): number {
    this.alone = others ? 0 : this.alone + 1;
    const target = this.amongOthers ? AMONG_OTHERS_MS : ALONE_MS;
    if (rows >= this.size * 0.9 || lockMs > target) {
      const fitting = rows * (target / Math.max(0.2, lockMs));
      this.size = Math.min(MOST, Math.max(FEWEST, Math.min(this.size * 1.25, fitting)));
    }
    return this.amongOthers ? Math.max(2, lockMs) : 1;
  }

  /** Somebody else held the lock. @returns the pause before the next try, ms */
  met(): number {
    this.alone = 0;
    return 2;
  }
}
