import type { Disk } from './filesystem.js';

const LOOK_MS = 1_000;
const SHARE = 0.05;

/** Bytes that are to stay free: `minFree`, on a small disk 5 % of it. */
export function floorOf(minFree: number, total: number): number {
  return Math.min(minFree, Math.floor(total * SHARE));
}

/** Watches how much room is left on a directory's disk, with at most one look a second. */
export class FreeSpace {
  private lookedAt = Number.NEGATIVE_INFINITY;
  private missing = 0;
  private lastFree: number | null = null;

  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly minFree: number,
  ) {}

  /** Bytes free at the last look; null before the first. */
  get free(): number | null {
    return this.lastFree;
  }

  /** Bytes that are missing to the floor; 0 if there is room. */
  shortage(now: number): number {
    return Math.abs(now - this.lookedAt) < LOOK_MS ? this.missing : this.look(now);
  }

  /** Looks at once. */
  look(now: number): number {
    this.lookedAt = now;
    const { total, free } = this.disk.space(this.directory);
    this.lastFree = free;
    this.missing = Math.max(0, floorOf(this.minFree, total) - free);
    return this.missing;
  }
}
