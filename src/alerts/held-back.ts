import type { State } from '../shipping/state.js';
import { mainUserKey, shortUser } from './facts.js';
import type { NewAlert } from './raised-alerts.js';
import { relatedRows } from './rule.js';

/** The note in state.db with what is held back. */
const NOTE = 'alerts_held_back';
const HOUR_MS = 3_600_000;
/** So many rows are kept of one user, and so many users. */
const NAMED = 90;
const USERS = 1_000;

/** Alerts of one kind about one user that were not raised. */
interface Rest {
  readonly action: string;
  readonly key: string;
  /** When one alert tells of them, ms since the epoch. */
  due: number;
  /** Of the last one. */
  fact: NewAlert['fact'];
  /** Of the first one. */
  readonly since: number;
  readonly firstRow: number;
  /** Of the newest ones. */
  readonly rows: number[];
  count: number;
}

/**
 * What is more than `max_per_user` alerts of one kind about one user in an hour. Whoever has a password and many addresses could raise an
 * alert with each login, and drown the one that matters. They are counted, and one alert tells of them when the hour is over. It is part
 * of each transaction, so none is counted twice or lost over a crash.
 */
export class HeldBack {
  private rests: Rest[];
  private isChanged = false;
  /** Since the process started, by action. */
  readonly totals = new Map<string, number>();

  constructor(private readonly state: State) {
    const note = state.note(NOTE);
    this.rests = note === null ? [] : (JSON.parse(note) as Rest[]);
  }

  /** Users of whom alerts are held back, once for each kind of alert. */
  get size(): number {
    return this.rests.length;
  }

  /** @returns true for the first one of an hour */
  add({ action, fact }: NewAlert, now: number): boolean {
    const key = mainUserKey(fact.user) ?? '';
    const known = this.rests.find((rest) => rest.action === action && rest.key === key);
    if (known?.rows.includes(fact.row)) return false; // a later version of it
    this.totals.set(action, (this.totals.get(action) ?? 0) + 1);
    this.isChanged = true;
    const kept = { ...fact, user: shortUser(fact.user) };
    if (known === undefined) {
      const { time: since, row: firstRow } = fact;
      const rest = {
        action,
        key,
        due: now + HOUR_MS,
        fact: kept,
        since,
        firstRow,
        rows: [fact.row],
        count: 1,
      };
      this.rests.push(rest);
      const [oldest] = this.rests;
      if (this.rests.length > USERS && oldest !== undefined) oldest.due = now;
      return true;
    }
    known.fact = kept;
    known.count++;
    known.rows.push(fact.row);
    if (known.rows.length > NAMED) known.rows.shift();
    return false;
  }

  /** One alert for each user whose hour is over. */
  due(now: number): NewAlert[] {
    // A clock that was set back must not delay an alert.
    const done = this.rests.filter(({ due }) => due <= now || due > now + HOUR_MS);
    if (done.length === 0) return [];
    this.rests = this.rests.filter((rest) => !done.includes(rest));
    this.isChanged = true;
    return done.map(({ action, key, fact, since, firstRow, rows, count }) => ({
      action,
      cause: JSON.stringify(['held_back', action, key, firstRow]),
      window: HOUR_MS,
      fact,
      related: relatedRows(rows),
      details: { held_back: count, since: new Date(since).toISOString() },
    }));
  }

  write(): void {
    if (this.isChanged) this.state.setNote(NOTE, JSON.stringify(this.rests));
  }

  committed(): void {
    this.isChanged = false;
  }
}
