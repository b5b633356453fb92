import type { EventUser } from '../audit/event.js';
import type { State } from '../shipping/state.js';
import { type Fact, shortUser } from './facts.js';
import type { NewAlert, RaisedAlert, RaisedAlerts } from './raised-alerts.js';
import { relatedRows } from './rule.js';

/** The note in state.db with the changes that are being counted. */
const NOTE = 'alert_changes';
/** So many rows are kept of one count. */
const NAMED = 90;
/** Different actions that are counted apart. */
const ACTIONS = 30;
const LOGIN_ALERTS: ReadonlySet<string> = new Set(['alert.login_after_failures', 'alert.new_network']);

export interface ChangeAfterAlertOptions {
  /** ms */
  readonly within: number;
  /** ms */
  readonly collect: number;
  readonly clock: () => number;
}

/** The changes of one user since the first one after an alert. */
interface Count {
  readonly users: readonly string[];
  readonly user: EventUser;
  readonly address: string | null;
  readonly row: number;
  readonly time: number;
  /** When the alert is raised, ms since the epoch. */
  readonly due: number;
  /** The first ones. */
  readonly rows: number[];
  highest: number;
  total: number;
  readonly actions: Record<string, number>;
}

/** Counts what users change after an alert about a login. It is part of each transaction, so no change is counted twice over a crash. */
export class ChangeCounts {
  counts: Count[];
  private isChanged = false;

  constructor(private readonly state: State) {
    const note = state.note(NOTE);
    this.counts = note === null ? [] : (JSON.parse(note) as Count[]);
  }

  of(users: readonly string[]): Count | undefined {
    return this.counts.find((count) => count.users.some((user) => users.includes(user)));
  }

  begin(count: Count): void {
    this.counts.push(count);
    this.isChanged = true;
  }

  add(count: Count, { row, action }: Fact): void {
    // A later version of a row that was counted.
    if (count.rows.includes(row) || (count.rows.length === NAMED && row <= count.highest)) return;
    count.highest = Math.max(count.highest, row);
    if (count.rows.length < NAMED) count.rows.push(row);
    count.total++;
    const name = action in count.actions || Object.keys(count.actions).length < ACTIONS ? action : 'other';
    count.actions[name] = (count.actions[name] ?? 0) + 1;
    this.isChanged = true;
  }

  clear(): void {
    if (this.counts.length > 0) this.remove(this.counts);
  }

  remove(done: readonly Count[]): void {
    this.counts = this.counts.filter((count) => !done.includes(count));
    this.isChanged = true;
  }

  write(): void {
    if (this.isChanged) this.state.setNote(NOTE, JSON.stringify(this.counts));
  }

  committed(): void {
    this.isChanged = false;
  }
}

/**
 * What a user changed within an hour after an alert about a login. The first change starts a count; the alert is raised when it has lasted
 * for `collect`, and tells how much was changed. One alert follows each of those alerts.
 */
export class ChangeAfterAlert {
  constructor(
    private readonly options: ChangeAfterAlertOptions,
    private readonly counts: ChangeCounts,
    private readonly raised: RaisedAlerts,
  ) {}

  observe(fact: Fact): void {
    const { role, users, row, time, user, address } = fact;
    if (role !== 'change' && role !== 'deletion') return;
    const known = this.counts.of(users);
    if (known !== undefined) {
      this.counts.add(known, fact);
      return;
    }
    if (this.unfollowed(users, fact).length === 0) return;
    const { clock, collect } = this.options;
    const count: Count = {
      users,
      user: shortUser(user),
      address,
      row,
      time,
      due: clock() + collect,
      rows: [],
      highest: 0,
      total: 0,
      actions: {},
    };
    this.counts.begin(count);
    this.counts.add(count, fact);
  }

  /** The alerts that are due. */
  due(): NewAlert[] {
    const { clock, collect } = this.options;
    const now = clock();
    // A clock that was set back must not delay an alert.
    const done = this.counts.counts.filter(({ due }) => due <= now || due > now + collect);
    if (done.length > 0) this.counts.remove(done);
    return done.flatMap((count) => this.alertOf(count) ?? []);
  }

  private alertOf(count: Count): NewAlert | null {
    const { within } = this.options;
    const alerts = this.unfollowed(count.users, count);
    const last = alerts.at(-1);
    if (last === undefined) return null;
    const ids = alerts.flatMap(({ ownId }) => (ownId === null ? [] : [`auditd:${ownId}`]));
    return {
      action: 'alert.change_after_alert',
      cause: causeOf(last),
      window: 2 * within,
      fact: count,
      related: [...ids.slice(-10), ...relatedRows(count.rows)],
      details: { changes: count.total, actions: count.actions, within_seconds: within / 1_000 },
    };
  }

  /** The alerts about logins of a user before a change, if no alert has followed the newest of them. */
  private unfollowed(users: readonly string[], change: Pick<Fact, 'row' | 'time'>): readonly RaisedAlert[] {
    const { within } = this.options;
    const alerts = this.raised.about(users, change, within).filter(({ action }) => LOGIN_ALERTS.has(action));
    const last = alerts.at(-1);
    if (last === undefined || this.raised.isRaised(causeOf(last), change.time, 2 * within)) return [];
    return alerts;
  }
}

function causeOf({ cause, row }: RaisedAlert): string {
  return JSON.stringify(['change_after_alert', cause, row]);
}
