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
 * Learns the networks of logins that were read before the alert was turned on: reads the logins of the last months from the table, the
 * newest first, a little each second. A process that dies continues where it was. All other logins are learned as they are read, live or
 * in a backlog; at the first start of the daemon these are all, so that the table is not read twice.
 */
export class NetworkLearner {
  isDone: boolean;
  /** Rows up to this one were read without being learned. Null: the table was never read. */
  private unlearned: number | null;

  constructor(private readonly options: NetworkLearnerOptions) {
    const { state, source } = options;
    this.isDone = state.note(NOTE) === 'done';
    this.unlearned = state.mark(source.name)?.id ?? null;
  }

  /** Learning starts again when the alert is turned on again: logins of the meantime were not learned. */
  static reset(state: State): void {
    if (state.note(NOTE) !== null) state.setNote(NOTE, '');
  }

  /** Rows were read for the first time, and their logins learned. @param after the row before the first of them */
  recorded(after: number): void {
    if (this.unlearned !== null) return;
    this.unlearned = after;
    if (after === 0 && !this.isDone) this.finish();
  }

  step(): void {
    if (this.unlearned === null) {
      const { state, source } = this.options;
      if (!this.isDone && state.mark(source.name)?.id === 0) this.finish();
      return;
    }
    const until = performance.now() + BUDGET_MS;
    while (!this.isDone && performance.now() < until) if (!this.readPage()) return;
  }

  /** @returns false while the table can't be read */
  private readPage(): boolean {
    const { state, source } = this.options;
    const mark = state.mark(source.name);
    if (mark === null) return false;
    const before = this.position(mark.timeline) ?? (this.unlearned ?? 0) + 1;
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
    if (isDone) this.finish();
    else state.transaction(() => state.setNote(NOTE, JSON.stringify(progress)));
    return true;
  }

  private finish(): void {
    const { state } = this.options;
    state.transaction(() => state.setNote(NOTE, 'done'));
    this.isDone = true;
  }

  /** Null: at the beginning. */
  private position(timeline: number): number | null {
    const note = this.options.state.note(NOTE);
    const progress = note === null || note === '' ? null : (JSON.parse(note) as Progress);
    return progress?.timeline === timeline ? progress.before : null;
  }
}
