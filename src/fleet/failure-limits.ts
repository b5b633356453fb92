/** How many failed logins of one other server may count within a time. */
export interface FailureLimit {
  readonly addresses: number;
  readonly failures: number;
  readonly windowMs: number;
}

export type Refusal = 'too_many_failures' | 'too_many_addresses' | 'too_many_servers';

/** Failures are counted in slices of the window, so that a flood costs no memory. */
const SLICES = 60;
/** Limit of the servers that are remembered. */
const MAX_ORIGINS = 10_000;

interface Origin {
  /** When each address was last admitted. At most `addresses` of them. */
  readonly addresses: Map<string, number>;
  readonly slices: number[];
  /** The latest slice, counted since the epoch. */
  slice: number;
  total: number;
}

/**
 * Limits the failed logins, and the addresses, that count here for each other server. A compromised server can forge any: this limit
 * and `never_ban` bound which addresses it can get banned.
 */
export class FailureLimiter {
  private readonly origins = new Map<string, Origin>();

  constructor(private readonly limit: FailureLimit) {}

  /** True if this server has reached its limit: checked before its message is parsed. */
  isExhausted(origin: string, now: number): boolean {
    const known = this.origins.get(origin);
    if (known === undefined) return this.origins.size >= MAX_ORIGINS;
    this.expireSlices(known, now);
    return known.total >= this.limit.failures;
  }

  /** Counts a failed login. @returns null, or why it is rejected */
  admit(origin: string, address: string, now: number): Refusal | null {
    const known = this.originOf(origin);
    if (known === null) return 'too_many_servers';
    this.expireSlices(known, now);
    if (known.total >= this.limit.failures) return 'too_many_failures';
    if (!known.addresses.has(address)) {
      if (known.addresses.size >= this.limit.addresses) this.expireAddresses(known, now);
      if (known.addresses.size >= this.limit.addresses) return 'too_many_addresses';
    }
    known.addresses.set(address, now);
    const at = known.slice % SLICES;
    known.slices[at] = (known.slices[at] ?? 0) + 1;
    known.total++;
    return null;
  }

  private originOf(name: string): Origin | null {
    const known = this.origins.get(name);
    if (known !== undefined) return known;
    if (this.origins.size >= MAX_ORIGINS) return null;
    const made: Origin = { addresses: new Map(), slices: Array<number>(SLICES).fill(0), slice: 0, total: 0 };
    this.origins.set(name, made);
    return made;
  }

  /** Drops the slices that are out of the window. After a small step of the clock backwards the newest slice counts; a larger one resets all. */
  private expireSlices(origin: Origin, now: number): void {
    const slice = Math.floor(now / (this.limit.windowMs / SLICES));
    if (slice < origin.slice - 1) {
      origin.addresses.clear();
      origin.slices.fill(0);
      origin.total = 0;
      origin.slice = slice;
    }
    if (slice <= origin.slice) return;
    for (let next = Math.max(origin.slice + 1, slice - SLICES + 1); next <= slice; next++) {
      const at = next % SLICES;
      origin.total -= origin.slices[at] ?? 0;
      origin.slices[at] = 0;
    }
    origin.slice = slice;
  }

  private expireAddresses(origin: Origin, now: number): void {
    for (const [address, at] of origin.addresses) {
      if (at < now - this.limit.windowMs) origin.addresses.delete(address);
    }
  }
}
