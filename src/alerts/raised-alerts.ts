import type Database from 'better-sqlite3';
import type { Logger } from 'pino';
import type { EventUser } from '../audit/event.js';
import { AuditdError, messageOf } from '../errors.js';
import type { Recorder } from '../recorder/recorder.js';
import type { Fact } from './facts.js';
import { CLOCK_MS } from './row-windows.js';

/** An alert to be recorded. */
export interface NewAlert {
  readonly action: string;
  /** Within `window` ms there is one alert of a cause. */
  readonly cause: string;
  readonly window: number;
  /** Of the row that made it an alert. */
  readonly fact: Pick<Fact, 'row' | 'time' | 'users' | 'address'> & { readonly user: EventUser };
  /** The public ids of the entries that it rests on; of many, the first or the newest. */
  readonly related: readonly string[];
  readonly details: Readonly<Record<string, unknown>>;
}

/** What is known of an alert later. */
export interface RaisedAlert {
  readonly action: string;
  readonly cause: string;
  readonly users: readonly string[];
  /** Of the row that made it an alert. */
  readonly row: number;
  readonly time: number;
  /** Its row in the daemon's own table; null: not recorded yet. */
  ownId: number | null;
}

const HOUR_MS = 3_600_000;
/** No window is longer than a day. */
const KEPT_MS = 2 * 86_400_000;
const MOST = 20_000;

/**
 * The alerts of the last two days, in memory and in state.db. A new one is a row of the daemon's own table, and is written in the
 * transaction that saves the mark of the rows that it follows from: over a crash either both are there, or the rows are read again.
 */
export class RaisedAlerts {
  /** The newest of each cause, in the order in which they were raised. */
  private readonly raised = new Map<string, RaisedAlert>();
  /** Of the last hour, also several of one cause; oldest first. */
  private lately: RaisedAlert[] = [];
  /** Recorded since the process started, by action. */
  readonly totals = new Map<string, number>();
  private pending: Array<readonly [NewAlert, RaisedAlert]> = [];
  private written: Array<readonly [RaisedAlert, number]> = [];
  private readonly insert: Database.Statement;
  private readonly prune: Database.Statement;

  constructor(
    db: Database.Database,
    private readonly recorder: Recorder,
    private readonly log: Logger,
  ) {
    this.insert = db.prepare(
      'INSERT OR REPLACE INTO raised_alert (own_id, action, cause, users, row_id, time) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.prune = db.prepare('DELETE FROM raised_alert WHERE time < ?');
    const rows = db
      .prepare(
        'SELECT own_id, action, cause, users, row_id, time FROM raised_alert ORDER BY own_id DESC LIMIT ?',
      )
      .all(MOST) as Array<Record<string, string | number>>;
    for (const row of rows.reverse()) {
      this.remember({
        action: String(row.action),
        cause: String(row.cause),
        users: JSON.parse(String(row.users)) as string[],
        row: Number(row.row_id),
        time: Number(row.time),
        ownId: Number(row.own_id),
      });
    }
  }

  /** Alerts that are not recorded yet, on a full disk for example. */
  get hasPending(): boolean {
    return this.pending.length > 0;
  }

  /** @returns false if there was one of this cause in its window */
  raise(alert: NewAlert): boolean {
    const { action, cause, window, fact } = alert;
    const { users, row, time } = fact;
    if (this.isRaised(cause, time, window)) return false;
    const raised: RaisedAlert = { action, cause, users, row, time, ownId: null };
    this.remember(raised);
    this.pending.push([alert, raised]);
    return true;
  }

  isRaised(cause: string, time: number, window: number): boolean {
    const last = this.raised.get(cause);
    return last !== undefined && isWithin(time - last.time, window);
  }

  /** How many alerts of a kind about a user are at most an hour older than a time. */
  countLately(action: string, user: string, time: number): number {
    return this.lately.filter(
      (one) => one.action === action && isWithin(time - one.time, HOUR_MS) && one.users.includes(user),
    ).length;
  }

  /** How many causes are remembered. */
  get size(): number {
    return this.raised.size;
  }

  /** The last alert of a kind within two days. */
  last(action: string): RaisedAlert | null {
    return [...this.raised.values()].findLast((one) => one.action === action) ?? null;
  }

  /** Alerts about a user that are at most `within` ms older than a row, the newest last. */
  about(users: readonly string[], { row, time }: Pick<Fact, 'row' | 'time'>, within: number): RaisedAlert[] {
    return [...this.raised.values()].filter(
      (one) =>
        one.row < row && isWithin(time - one.time, within) && one.users.some((user) => users.includes(user)),
    );
  }

  /** Inside a transaction. */
  write(): void {
    this.written = [];
    for (const [alert, raised] of this.pending) {
      const id = this.record(alert);
      if (id === null) continue;
      const { action, cause, users, row, time } = raised;
      this.insert.run(id, action, cause, JSON.stringify(users), row, time);
      this.written.push([raised, id]);
    }
    const [first] = this.written;
    if (first !== undefined) this.prune.run(first[0].time - KEPT_MS);
  }

  /** @returns how many were written */
  committed(): number {
    for (const [raised, id] of this.written) {
      raised.ownId = id;
      this.totals.set(raised.action, (this.totals.get(raised.action) ?? 0) + 1);
    }
    const count = this.written.length;
    this.written = [];
    this.pending = [];
    return count;
  }

  private record({ action, fact, related, details }: NewAlert): number | null {
    try {
      return this.recorder.record({
        action,
        user: fact.user,
        address: fact.address,
        details: { ...details, related },
      });
    } catch (error) {
      if (!(error instanceof AuditdError)) throw error; // a full disk, for example
      this.log.error({ err: error }, `alert ${action} can't be recorded: ${messageOf(error)}`);
      return null;
    }
  }

  private remember(raised: RaisedAlert): void {
    this.raised.delete(raised.cause);
    this.raised.set(raised.cause, raised);
    this.lately.push(raised);
    const from = this.lately.findIndex(({ time }) => raised.time - time < HOUR_MS);
    this.lately.splice(0, Math.max(from, this.lately.length - MOST));
    for (const [cause, { time }] of this.raised) {
      if (this.raised.size <= MOST && raised.time - time <= KEPT_MS) break;
      this.raised.delete(cause);
    }
  }
}

/** Rows of the same moment may have times in another order than their ids. */
function isWithin(age: number, window: number): boolean {
  return age < window && age > -CLOCK_MS;
}
