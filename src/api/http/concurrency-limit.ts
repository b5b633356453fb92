/** Limits how many of something run at the same time. */
export class ConcurrencyLimit {
  private taken = 0;
  private readonly takenBy = new Map<string, number>();

  /** @param mostEach slots that one holder may have */
  constructor(
    private readonly most: number,
    private readonly mostEach = most,
  ) {}

  get inUse(): number {
    return this.taken;
  }

  /** Takes a slot. @returns a function that frees it; null if no slot is free, or none for `who` */
  take(who = ''): (() => void) | null {
    const own = this.takenBy.get(who) ?? 0;
    if (this.taken >= this.most || own >= this.mostEach) return null;
    this.add(who, 1);
    let isFreed = false;
    return () => {
      if (!isFreed) this.add(who, -1);
      isFreed = true;
    };
  }

  private add(who: string, change: 1 | -1): void {
    this.taken += change;
    const own = (this.takenBy.get(who) ?? 0) + change;
    if (own === 0) this.takenBy.delete(who);
    else this.takenBy.set(who, own);
  }
}
