/** A request of several events that breaks so often in a row is made smaller. */
const BREAKS = 2;
/** One of a single event that breaks so often in a row is looked into. */
const BREAKS_OF_ONE = 4;
/** While nothing gets through, the cause is looked for at most so often. */
const QUIET_MS = 60_000;
/** After so many answers the size that broke is tried again; twice as many each time. */
const FIRST_TRIAL = 50;
const LAST_TRIAL = 10_000;

/** What to do after a connection broke: the same again, a smaller request, or find out whether the one event is the cause. */
export type AfterBreak = 'again' | 'smaller' | 'find cause';

/**
 * Some receivers, and proxies before them, refuse a size by breaking the connection, without an answer. That looks like one that is down,
 * and the same request would be sent for ever. So a request that breaks again and again is made smaller, and grows again with the answers,
 * up to half of what broke. Bytes are those before compression.
 */
export class BrokenRequests {
  /** Larger requests are not sent. */
  limit = Number.POSITIVE_INFINITY;
  /** The smallest request that broke again and again. */
  private ceiling = Number.POSITIVE_INFINITY;
  /** In a row. */
  private breaks = 0;
  private answers = 0;
  private trial = FIRST_TRIAL;
  private quietUntil = Number.NEGATIVE_INFINITY;

  /** @param most the largest request that is ever sent */
  constructor(private readonly most: number) {}

  /** @param now monotonic, ms */
  broke(bytes: number, events: number, now: number): AfterBreak {
    this.breaks++;
    if (now < this.quietUntil || this.breaks < (events > 1 ? BREAKS : BREAKS_OF_ONE)) return 'again';
    this.breaks = 0;
    if (events === 1) return 'find cause';
    this.ceiling = Math.min(this.ceiling, bytes);
    this.limit = Math.floor(bytes / 2);
    this.answers = 0;
    return 'smaller';
  }

  answered(): void {
    this.breaks = 0;
    if (this.limit >= this.most) return;
    this.answers++;
    if (this.limit * 2 < this.ceiling) this.grow(this.limit * 2);
    else if (this.answers >= this.trial) {
      this.trial = Math.min(LAST_TRIAL, this.trial * 2);
      const { ceiling } = this;
      this.ceiling = Number.POSITIVE_INFINITY;
      this.grow(ceiling);
    }
  }

  /** Nothing gets through: no size is the cause. @param now monotonic, ms */
  isDown(now: number): void {
    this.quietUntil = now + QUIET_MS;
    this.forget();
  }

  /** An event was the cause, and not the size. */
  forget(): void {
    this.limit = Number.POSITIVE_INFINITY;
    this.ceiling = Number.POSITIVE_INFINITY;
    this.breaks = 0;
  }

  private grow(limit: number): void {
    this.answers = 0;
    this.limit = limit >= this.most ? Number.POSITIVE_INFINITY : limit;
  }
}
