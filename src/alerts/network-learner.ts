import type { State } from '../shipping/state.js';
import type { AuditSource } from '../source/source.js';
import { factOf } from './facts.js';
import type { NewNetwork } from './new-network.js';
import { pageBefore } from './page-before.js';

/** The note in state.db: `done`, or where reading continues. Deleted while the alert is turned off. */
const NOTE = 'alert_networks_learned';
/** Of each second: a table of 10 million rows is read in about half an hour, beside the shipping. */
const BUDGET_MS = 50;

export interface NetworkLearnerOptions {
  readonly state: State;
  readonly source: AuditSource;
  readonly rule: NewNetwork;
  /** Older logins are not learned, ms. */
  readonly memory: number;
  readonly clock: () => number;
}

interface Progress {
  readonly timeline: number;
  /** Rows below this one are still to be read. */
  readonly before: number;
}

/**
 * At the first start, reads the logins of the last months from the table, the newest first, a little each second. A process that dies
 * continues where it was. Later logins are learned as they are read, live or in a backlog.
 */
export class NetworkLearner {
  isDone: boolean;

  constructor(private readonly options: NetworkLearnerOptions) {
    this.isDone = options.state.note(NOTE) === 'done';
  }

  /** Learning starts again when the alert is turned on again: logins of the meantime were not learned. */
  static reset(state: State): void {
    if (state.note(NOTE) !== null) state.setNote(NOTE, '');
  }

  step(): void {
    const until = performance.now() + BUDGET_MS;
    while (!this.isDone && performance.now() < until) if (!this.readPage()) return;
  }

  /** @returns false while the table can't be read */
  private readPage(): boolean {
    const { state, source } = this.options;
    const mark = state.mark(source.name);
    if (mark === null) return false;
    const before = this.position(mark.timeline);
    const found = pageBefore(source, mark, before);
    if (found === null) return false;
    const since = this.options.clock() - this.options.memory;
    const recent = found.events.filter(({ time }) => time !== null && time >= since);
    for (const event of recent) {
      const fact = factOf(event);
      if (fact !== null) this.options.rule.learn(fact);
    }
    const first = found.events[0]?.sequence ?? 0;
    const isDone = !found.more || first <= 1 || recent.length === 0;
    const progress: Progress = { timeline: mark.timeline, before: first };
    state.transaction(() => state.setNote(NOTE, isDone ? 'done' : JSON.stringify(progress)));
    this.isDone = isDone;
    return true;
  }

  private position(timeline: number): number {
    const note = this.options.state.note(NOTE);
    const progress = note === null || note === '' ? null : (JSON.parse(note) as Progress);
    return progress?.timeline === timeline ? progress.before : Number.MAX_SAFE_INTEGER;
  }
}
