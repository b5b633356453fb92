export interface CachedAnswer<T> {
  /** The newest value; null if there is none yet, if the last attempt failed, or if it is too old. */
  readonly value: T | null;
  /** Why the last attempt failed. */
  readonly error: unknown;
}

interface Slot<T> {
  value: T | null;
  error: unknown;
  /** When the last attempt ended. */
  at: number;
  /** When loading the value began: the time that the value describes. */
  of: number;
  loading: Promise<void> | null;
}

/**
 * Caches answers that are expensive and may be a few seconds old. They are loaded once for all callers, and no caller waits longer than it
 * asks to. An answer that arrives too late is kept for the next caller.
 */
export class StaleCache<T> {
  private readonly slots = new Map<string, Slot<T>>();

  /**
   * @param fresh milliseconds for which an answer is not loaded again
   * @param oldest milliseconds after which a value counts as missing
   * @param most number of keys kept
   */
  constructor(
    private readonly fresh: number,
    private readonly oldest: number,
    private readonly clock: () => number,
    private readonly most = 50,
  ) {}

  /** @param wait milliseconds */
  async get(key: string, load: () => Promise<T>, wait: number): Promise<CachedAnswer<T>> {
    const slot = this.slotOf(key);
    if (Math.abs(this.clock() - slot.at) > this.fresh) slot.loading ??= this.load(slot, load);
    if (slot.loading !== null) await patience(slot.loading, wait);
    const { value, error, of } = slot;
    const isOld = Math.abs(this.clock() - of) > this.oldest;
    return { value: isOld || error !== null ? null : value, error };
  }

  forget(key: string): void {
    this.slots.delete(key);
  }

  private slotOf(key: string): Slot<T> {
    const slot = this.slots.get(key) ?? {
      value: null,
      error: null,
      at: Number.NEGATIVE_INFINITY,
      of: Number.NEGATIVE_INFINITY,
      loading: null,
    };
    this.slots.delete(key);
    this.slots.set(key, slot); // the least recently used is dropped first
    for (const [oldest, { loading }] of this.slots) {
      if (this.slots.size <= this.most) break;
      if (loading === null) this.slots.delete(oldest);
    }
    return slot;
  }

  private async load(slot: Slot<T>, load: () => Promise<T>): Promise<void> {
    const now = this.clock();
    try {
      slot.value = await load();
      slot.of = now;
      slot.error = null;
    } catch (error) {
      slot.error = error;
    }
    slot.at = this.clock();
    slot.loading = null;
  }
}

async function patience(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise((done) => (timer = setTimeout(done, ms)))]);
  clearTimeout(timer);
}
