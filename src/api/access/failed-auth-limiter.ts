/** How one failed authentication is handled. */
export interface Noted {
  /** Whether it is recorded as an event. */
  readonly record: boolean;
  /** Seconds until this address may try again; null: at once. */
  readonly retryAfter: number | null;
}

export interface FailureRule {
  /** fail2ban bans after this many failures ... */
  readonly failures: number;
  /** ... within this many milliseconds. */
  readonly withinMs: number;
}

/** Addresses remembered at most. The count of a forgotten address restarts. */
const MOST_ADDRESSES = 50_000;
/** Rows recorded per second after the burst, for all addresses together. */
const REFILL_PER_MS = 20 / 1_000;
const BURST = 50_000;

/**
 * Counts failed authentications per address. For each address, only as many are recorded as lead to a ban within fail2ban's find time, so
 * a flood from one address writes no more rows than its ban needs. The total is bounded too, at a number that no real set of addresses
 * reaches before it is banned.
 */
export class Failures {
  /** Two generations. The older one is dropped as a whole, at no cost however large it is. */
  private times = new Map<string, number[]>();
  private before = new Map<string, number[]>();
  private generationStart: number;
  private tokens = BURST;
  private refilled: number;

  constructor(
    public rule: FailureRule,
    private readonly clock: () => number,
  ) {
    this.refilled = clock();
    this.generationStart = this.refilled;
  }

  /** @param address canonical text; null if unknown, so that nobody can be banned */
  note(address: string | null): Noted {
    const now = this.clock();
    const key = address ?? '';
    const { failures, withinMs } = this.rule;
    if (this.times.size >= MOST_ADDRESSES / 2 || Math.abs(now - this.generationStart) > withinMs)
      this.startGeneration(now);
    const known = this.times.get(key) ?? this.before.get(key) ?? [];
    const times = known.filter((time) => time > now - withinMs && time <= now);
    this.times.set(key, times);
    if (times.length >= failures) {
      return { record: false, retryAfter: Math.ceil(((times[0] ?? now) + withinMs - now) / 1_000) };
    }
    times.push(now);
    if (!this.takeToken(now)) return { record: false, retryAfter: null };
    return { record: true, retryAfter: null };
  }

  private startGeneration(now: number): void {
    this.before = this.times;
    this.times = new Map();
    this.generationStart = now;
  }

  private takeToken(now: number): boolean {
    this.tokens = Math.min(BURST, this.tokens + Math.max(0, now - this.refilled) * REFILL_PER_MS);
    this.refilled = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
