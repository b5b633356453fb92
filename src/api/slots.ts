/** So many at a time, and no more. */
export class Slots {
  private taken = 0;

  constructor(private readonly most: number) {}

  get inUse(): number {
    return this.taken;
  }

  /** Gives a slot back when called, once; null if there is none left. */
  take(): (() => void) | null {
    if (this.taken >= this.most) return null;
    this.taken++;
    let given = false;
    return () => {
      if (!given) this.taken--;
      given = true;
    };
  }
}
