import type { Logger } from 'pino';
import type { SourceName } from '../audit/event.js';
import { type Diagnosis, explained } from '../errors.js';
import type { HighWaterMark, WaitingState } from '../source/source.js';

/** The state of a source in `status`. `what` and `next` are the parts of the message; an older daemon does not report them. */
export interface FeedStatus extends Partial<Diagnosis> {
  readonly state: 'starting' | 'reading' | 'stopped' | WaitingState;
  readonly message: string;
  readonly since: number;
  readonly timeline: number;
  readonly mark: number;
  readonly maxId: number;
  readonly lastLook: number;
}

/** The current state of a source; each change is logged once. */
export class FeedState {
  private now: Omit<FeedStatus, 'timeline' | 'mark'>;

  constructor(
    private readonly source: SourceName,
    private readonly clock: () => number,
    private readonly log: Logger,
    maxId: number,
  ) {
    this.now = { state: 'starting', message: 'not read yet', since: clock(), maxId, lastLook: 0 };
  }

  /** Highest id at the last successful read. */
  get maxId(): number {
    return this.now.maxId;
  }

  status({ timeline, id: mark }: HighWaterMark): FeedStatus {
    return { ...this.now, timeline, mark };
  }

  set(state: FeedStatus['state'], what: string, maxId: number, next: string | null = null): void {
    const message = explained(what, next);
    const now = this.clock();
    const before = this.now;
    const same = before.state === state && before.message === message;
    const since = same ? before.since : now;
    this.now = { ...before, state, message, what, next, maxId, since, lastLook: now };
    if (same || (before.state === 'starting' && state === 'reading')) return;
    const isWaiting = state !== 'reading' && state !== 'stopped';
    this.log[isWaiting ? 'warn' : 'info'](
      { source: this.source, state },
      `source ${this.source}: ${message}`,
    );
  }
}
