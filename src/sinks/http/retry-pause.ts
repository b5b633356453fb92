import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;

/** The pause before the next request, growing with each answer that asks for another try, until a time. */
export class RetryPause {
  private notBefore = 0;
  private tries = 0;

  /** @param deadline of `performance.now()`, ms */
  constructor(private readonly deadline: number) {}

  /** No request has to be sent again. */
  get isCalm(): boolean {
    return this.tries === 0;
  }

  calm(): void {
    this.tries = 0;
  }

  /** @param askedMs by the receiver @returns false if the pause would end after the deadline */
  lengthen(askedMs: number | null): boolean {
    this.tries++;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.tries - 1));
    const until = performance.now() + Math.max(askedMs ?? 0, pause * (1 - Math.random() / 3));
    if (until > this.deadline) return false;
    this.notBefore = Math.max(this.notBefore, until);
    return true;
  }

  /** Resolves when the next request may be sent. */
  async over(signal: AbortSignal): Promise<void> {
    const wait = this.notBefore - performance.now();
    if (wait > 0) await sleep(wait, undefined, { signal });
  }
}
