/** What becomes of one failed authentication. */
export interface Noted {
  /** Whether it is to be recorded as an event. */
  readonly record: boolean;
  /** Seconds after which this address is answered again; null: at once. */
  readonly retryAfter: number | null;
}

export interface FailureRule {
  /** fail2ban bans after so many ... */
  readonly failures: number;
  /** ... within so many milliseconds. */
  readonly withinMs: number;
}

/** Addresses remembered at most; who comes back after being forgotten begins anew. */
const MOST_ADDRESSES = 50_000;
/** Rows a second beyond the burst, for all addresses together. */
const REFILL_PER_MS = 20 / 1_000;
const BURST = 50_000;

/**
 * Counts failed authentications per address. Of each address as many are recorded as lead to a ban, and no more until the
 * time of fail2ban's count has passed: a flood from one address writes no more rows than its ban needs. All together are bounded too,
 * at a number that no real set of addresses reaches before it is banned.
 */
export class Failures {
  /** Two generations: the older one is forgotten as a whole, which costs nothing however many there are. */
  private times = new Map<string, number[]>();
  private before = new Map<string, number[]>();
  private begun: number;
  private tokens = BURST;
  private refilled: number;

  constructor(
    public rule: FailureRule,
    private readonly clock: () => number,
  ) {
    this.refilled = clock();
    this.begun = this.refilled;
  }

  /** @param address canonical text; null: nobody can be banned for it */
  note(address: string | null): Noted {
    const now = this.clock();
    const key = address ?? '';
    const { failures, withinMs } = this.rule;
    if (this.times.size >= MOST_ADDRESSES / 2 || Math.abs(now - this.begun) > withinMs) this.turn(now);
    const known = this.times.get(key) ?? this.before.get(key) ?? [];
    const times = known.filter((time) => time > now - withinMs && time <= now);
    this.times.set(key, times);
    if (times.length >= failures) {
      return { record: false, retryAfter: Math.ceil(((times[0] ?? now) + withinMs - now) / 1_000) };
    }
    times.push(now);
    if (!this.take(now)) return { record: false, retryAfter: null };
    return { record: true, retryAfter: null };
  }

  private turn(now: number): void {
    this.before = this.times;
    this.times = new Map();
    this.begun = now;
  }

  private take(now: number): boolean {
    this.tokens = Math.min(BURST, this.tokens + Math.max(0, now - this.refilled) * REFILL_PER_MS);
    this.refilled = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
