import type { Logger } from 'pino';
import { messageOf } from '../errors.js';

/** What is past its time for longer than this hangs. */
const OVERDUE_MS = 30_000;

export type LoopState =
  | 'opening'
  | 'waiting for events'
  | 'delivering'
  | 'backing off'
  | 'standing by' // another one ships
  | 'stopped';

export interface LastError {
  readonly message: string;
  readonly at: number;
}

/** What a loop is doing and since when, and what went wrong; says once that its sink is down, and once that it is back. */
export class Health {
  state: LoopState = 'opening';
  since: number;
  errors = 0;
  lastError: LastError | null = null;
  /** Failures in a row. */
  failures = 0;
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

  /** Null while all is well; else why this loop must be taken for hung. */
  hung(): string | null {
    const overdue = performance.now() - this.deadline;
    if (overdue <= OVERDUE_MS) return null;
    return `sink ${this.sink}: ${this.state}, ${Math.round(overdue / 1000)} s over its time`;
  }

  note(error: unknown): void {
    this.errors++;
    this.lastError = { message: messageOf(error), at: this.clock() };
  }

  failed(error: unknown): void {
    this.failures++;
    this.note(error);
    if (this.failures > 1) return;
    const text = `sink ${this.sink} is down: ${messageOf(error)}; trying again`;
    this.log.error({ sink: this.sink, err: error }, text);
  }

  recovered(): void {
    if (this.failures === 0) return;
    this.log.info({ sink: this.sink, retries: this.failures }, `sink ${this.sink} is back`);
    this.failures = 0;
  }
}
