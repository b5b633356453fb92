import type { AuditEvent } from '../audit/event.js';

export interface Count {
  readonly name: string;
  readonly count: number;
}

export interface Stats {
  readonly total: number;
  readonly failures: number;
  readonly actions: readonly Count[];
  readonly users: readonly Count[];
  readonly addresses: readonly Count[];
  /** A day each without a gap, from the first one to the last, `2026-11-22` in UTC; at most the last 3,660. */
  readonly days: readonly Count[];
  /** Rows whose time can't be read. */
  readonly undated: number;
}

const DAY_MS = 86_400_000;
const MOST_DAYS = 3_660;
/** Names that are counted apart; what a flood of others adds is in the total alone. */
const MOST_NAMES = 100_000;

/** Counts events in bounded memory. */
export class Tally {
  private total = 0;
  private failures = 0;
  private undated = 0;
  private readonly actions = new Map<string, number>();
  private readonly users = new Map<string, number>();
  private readonly addresses = new Map<string, number>();
  private readonly days = new Map<number, number>();

  add(event: AuditEvent): void {
    this.total++;
    if (event.type.outcome === 'failure') this.failures++;
    count(this.actions, event.action);
    count(this.users, event.user.name ?? event.user.email ?? event.user.id);
    count(this.addresses, event.address);
    if (event.time === null) this.undated++;
    else {
      const day = Math.floor(event.time / DAY_MS);
      this.days.set(day, (this.days.get(day) ?? 0) + 1);
    }
  }

  result(top: number): Stats {
    const { total, failures, undated } = this;
    return {
      total,
      failures,
      actions: highest(this.actions, top),
      users: highest(this.users, top),
      addresses: highest(this.addresses, top),
      days: this.daysInRow(),
      undated,
    };
  }

  private daysInRow(): Count[] {
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
