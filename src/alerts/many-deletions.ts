import type { Fact } from './facts.js';
import type { NewAlert } from './raised-alerts.js';
import { RowWindows } from './row-windows.js';
import { type AlertRule, relatedRows } from './rule.js';

/** An edit of a row is found up to a minute later, and must not be another alert. */
const LEAST_WINDOW_MS = 180_000;

export interface ManyDeletionsOptions {
  readonly count: number;
  /** ms */
  readonly within: number;
}

/** At least `count` deletions by one user within a time. */
export class ManyDeletions implements AlertRule {
  private readonly byUser: RowWindows;
  readonly span: number;

  constructor(private readonly options: ManyDeletionsOptions) {
    this.span = options.within;
    this.byUser = new RowWindows(options.within, options.count);
  }

  get size(): number {
    return this.byUser.size;
  }

  forget(): void {
    this.byUser.clear();
  }

  recall({ role, users, row, time }: Fact): void {
    const [user] = users;
    if (role === 'deletion' && user !== undefined) this.byUser.add(user, row, time);
  }

  observe(fact: Fact): NewAlert | null {
    const { role, users, row, time } = fact;
    const [user] = users;
    if (role !== 'deletion' || user === undefined) return null;
    const { count, within } = this.options;
    this.byUser.add(user, row, time);
    const rows = this.byUser.before(user, Number.POSITIVE_INFINITY, time);
    if (rows.length < count) return null;
    return {
      action: 'alert.deletions',
      cause: JSON.stringify(['deletions', user]),
      window: Math.max(within, LEAST_WINDOW_MS),
      fact,
      related: relatedRows(rows),
      details: { deletions: rows.length, within_seconds: within / 1_000 },
    };
  }
}
