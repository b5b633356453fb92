import type { AuditEvent } from '../audit/event.js';
import type { UnknownNameNote } from './unknown-names.js';

export interface Count {
  readonly name: string;
  readonly count: number;
}

export interface Hour extends Count {
  readonly failed_logins: number;
}

export interface Stats extends UnknownNameNote {
  readonly total: number;
  readonly failures: number;
  readonly actions: readonly Count[];
  readonly users: readonly Count[];
  readonly addresses: readonly Count[];
  /** Addresses with failed logins. */
  readonly offenders: readonly Count[];
  readonly failed_logins: number;
  readonly servers: readonly Count[];
  /** Counts per day without gaps, from the first to the last, `2026-11-22`, UTC; at most the last 3,660. */
  readonly days: readonly Count[];
  /** Counts per hour that has entries, `2026-11-22T20:00Z`, the oldest first; empty if there are more than 1,080 (45 days). */
  readonly hours: readonly Hour[];
  /** Rows with an unreadable time. */
  readonly undated: number;
  /** The entries not counted because archives are missing, as text; omitted if there are none. */
  readonly incomplete?: string;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const MOST_HOURS = 45 * 24;
const FAILED_LOGIN = 'auth.login_failure';
const MOST_DAYS = 3_660;
/** Names counted separately. A flood of further names is only in the total. */
const MOST_NAMES = 100_000;

/** Counts events in bounded memory. */
export class StatsTally {
  private total = 0;
  private failures = 0;
  private undated = 0;
  private readonly actions = new Map<string, number>();
  private readonly users = new Map<string, number>();
  private readonly addresses = new Map<string, number>();
  private readonly offenders = new Map<string, number>();
  private failedLogins = 0;
  private readonly servers = new Map<string, number>();
  private readonly days = new Map<number, number>();
  /** Null if there are more than the result may have. */
  private hours: Map<number, { count: number; failedLogins: number }> | null = new Map();

  add(event: AuditEvent): void {
    this.total++;
    if (event.type.outcome === 'failure') this.failures++;
    count(this.actions, event.action);
    count(this.users, event.user.name ?? event.user.email ?? event.user.id);
    count(this.addresses, event.address);
    count(this.servers, event.server);
    const failedLogin = event.action === FAILED_LOGIN;
    if (failedLogin) {
      this.failedLogins++;
      count(this.offenders, event.address);
    }
    if (event.time === null) this.undated++;
    else {
      const day = Math.floor(event.time / DAY_MS);
      this.days.set(day, (this.days.get(day) ?? 0) + 1);
      this.addHour(Math.floor(event.time / HOUR_MS), failedLogin);
    }
  }

  private addHour(number: number, failedLogin: boolean): void {
    if (this.hours === null) return;
    const hour = this.hours.get(number) ?? { count: 0, failedLogins: 0 };
    hour.count++;
    if (failedLogin) hour.failedLogins++;
    this.hours.set(number, hour);
    if (this.hours.size > MOST_HOURS) this.hours = null;
  }

  result(top: number): Stats {
    const { total, failures, failedLogins, undated } = this;
    return {
      total,
      failures,
      actions: highest(this.actions, top),
      users: highest(this.users, top),
      addresses: highest(this.addresses, top),
      offenders: highest(this.offenders, top),
      failed_logins: failedLogins,
      servers: highest(this.servers, top),
      hours: this.sortedHours(),
      days: this.daysWithoutGaps(),
      undated,
    };
  }

  private sortedHours(): Hour[] {
    return [...(this.hours ?? [])]
      .sort(([a], [b]) => a - b)
      .map(([number, { count, failedLogins }]) => ({
        name: `${new Date(number * HOUR_MS).toISOString().slice(0, -8)}Z`,
        count,
        failed_logins: failedLogins,
      }));
  }

  private daysWithoutGaps(): Count[] {
    const known = [...this.days.keys()].sort((a, b) => a - b);
    const last = known.at(-1);
    if (last === undefined) return [];
    const first = Math.max(known[0] ?? last, last - MOST_DAYS + 1);
    return Array.from({ length: last - first + 1 }, (_, at) => ({
      name: new Date((first + at) * DAY_MS).toISOString().slice(0, 10),
      count: this.days.get(first + at) ?? 0,
    }));
  }
}

function count(map: Map<string, number>, name: string | null): void {
  if (name === null || name === '') return;
  const before = map.get(name);
  if (before === undefined && map.size >= MOST_NAMES) return;
  map.set(name, (before ?? 0) + 1);
}

function highest(map: ReadonlyMap<string, number>, top: number): Count[] {
  return [...map]
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, top)
    .map(([name, number]) => ({ name, count: number }));
}
