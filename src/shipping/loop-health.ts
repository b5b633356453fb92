import type { Logger } from 'pino';
import { type Diagnosis, diagnosisOf, messageOf } from '../errors.js';

/** A loop that is overdue for longer than this hangs. */
const OVERDUE_MS = 30_000;

export type LoopState =
  | 'opening'
  | 'waiting for events'
  | 'delivering'
  | 'backing off'
  | 'standing by' // another server ships
  | 'stopped';

/** `what` and `next` are the message in two parts; an older daemon has not reported them. */
export interface LastError extends Partial<Diagnosis> {
  readonly message: string;
  readonly at: number;
}

/** A sink that fails again sooner had not recovered: its pauses keep growing, and nothing is logged. */
const STEADY_MS = 10_000;

/** What a loop is doing, since when, and its last error. Logs once that its sink is down, and once that it is back. */
export class Health {
  state: LoopState = 'opening';
  since: number;
  errors = 0;
  lastError: LastError | null = null;
  /** Failures in a row. */
  failures = 0;
  private before = 0;
  private recoveredAt = Number.NEGATIVE_INFINITY;
  /** It fails again and again, and that was logged. */
  private unsteady = false;
  private deadline = Number.POSITIVE_INFINITY;

  constructor(
    private readonly sink: string,
    private readonly clock: () => number,
    private readonly log: Logger,
  ) {
    this.since = clock();
  }

  /** @param limitMs how long this may take before it counts as overdue */
  enter(state: LoopState, limitMs = Number.POSITIVE_INFINITY): void {
    if (state !== this.state) this.since = this.clock();
    this.state = state;
    this.deadline = performance.now() + limitMs; // monotonic: a clock that is set is no hang
  }

  /** More time for what is being done. */
  renew(limitMs: number): void {
    this.deadline = Math.max(this.deadline, performance.now() + limitMs);
  }

  /** Null while all is well; else why this loop must be taken for hung. */
  hung(): string | null {
    const overdue = performance.now() - this.deadline;
    if (overdue <= OVERDUE_MS) return null;
    return `sink ${this.sink}: ${this.state}, ${Math.round(overdue / 1000)} s over its time`;
  }

  note(error: unknown): void {
    this.errors++;
    this.lastError = { message: messageOf(error), ...diagnosisOf(error), at: this.clock() };
  }

  failed(error: unknown): void {
    const relapse = this.failures === 0 && performance.now() - this.recoveredAt < STEADY_MS;
    if (relapse) this.failures = this.before;
    this.failures++;
    this.note(error);
    if (this.unsteady || (this.failures > 1 && !relapse)) return;
    this.unsteady = relapse;
    const next = relapse ? 'it fails again and again; retrying with growing pauses' : 'retrying';
    const text = `sink ${this.sink} is down${relapse ? ' again' : ''}: ${messageOf(error)}; ${next}`;
    this.log.error({ sink: this.sink, err: error }, text);
  }

  /** To be called again and again while all is well. */
  recovered(): void {
    if (this.failures > 0) {
      this.before = this.failures;
      this.failures = 0;
      this.recoveredAt = performance.now();
      if (!this.unsteady) this.logRecovery();
    } else if (this.unsteady && performance.now() - this.recoveredAt >= STEADY_MS) {
      this.unsteady = false;
      this.logRecovery();
    }
  }

  private logRecovery(): void {
    this.log.info({ sink: this.sink, retries: this.before }, `sink ${this.sink} is back`);
  }
}
