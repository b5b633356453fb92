/** So many at a time, and no more. */
export class ConcurrencyLimit {
  private taken = 0;
  private readonly takenBy = new Map<string, number>();

  /** @param mostEach of them, for each who takes */
  constructor(
    private readonly most: number,
    private readonly mostEach = most,
  ) {}

  get inUse(): number {
    return this.taken;
  }

  /** Gives a slot back when called, once; null if there is none left, or none for `who`. */
  take(who = ''): (() => void) | null {
    const own = this.takenBy.get(who) ?? 0;
    if (this.taken >= this.most || own >= this.mostEach) return null;
    this.add(who, 1);
    let given = false;
    return () => {
      if (!given) this.add(who, -1);
      given = true;
    };
  }

  private add(who: string, change: 1 | -1): void {
    this.taken += change;
    const own = (this.takenBy.get(who) ?? 0) + change;
    if (own === 0) this.takenBy.delete(who);
    else this.takenBy.set(who, own);
  }
}
