import type Database from 'better-sqlite3';
import { homeNetwork } from './facts.js';

export const DAY_MS = 86_400_000;
/** Of a user: one who logs in through very many networks is alerted about again. */
const MOST_OF_USER = 1_000;
const MOST = 200_000;
/** Logins that were learned last, so that a backlog of them costs a look into memory. */
const CACHED = 20_000;
/** After so many writes what is too much is removed. */
const REMOVED_AFTER = 10_000;
/** A user stays known for so long after the last network was forgotten. */
const USER_KEPT_DAYS = 365;

/** `first`: nothing is known of the user, so there is nothing to compare with. */
export type Familiarity = 'known' | 'new' | 'first';

/**
 * The networks from which users have logged in, with the day of the last login, in state.db. What was learned is written in the next
 * transaction, which also saves the marks of the rows that it was learned from.
 */
export class KnownNetworks {
  /** Not written yet: the day by network and user. */
  private pending = new Map<string, Map<string, number>>();
  private size = 0;
  /** The day by user and network; by address, if it is of IPv6. */
  private readonly cache = new Map<string, Map<string, number>>();
  private cached = 0;
  /** Since the last removal. */
  private added = 0;
  private readonly find: Database.Statement;
  private readonly any: Database.Statement;
  private readonly put: Database.Statement;
  private readonly crowded: Database.Statement;
  private readonly countAll: Database.Statement;
  private readonly trim: Database.Statement;
  private readonly trimAll: Database.Statement;
  private readonly newest: Database.Statement;
  private readonly prune: Database.Statement;

  constructor(db: Database.Database) {
    this.find = db.prepare('SELECT seen FROM known_network WHERE user = ? AND network = ?').pluck();
    this.any = db.prepare('SELECT EXISTS (SELECT 1 FROM known_network WHERE user = ?)').pluck();
    this.put = db.prepare(
      `INSERT INTO known_network (user, network, seen) VALUES (?, ?, ?)
       ON CONFLICT (user, network) DO UPDATE SET seen = max(seen, excluded.seen)`,
    );
    this.crowded = db.prepare('SELECT user FROM known_network GROUP BY user HAVING count(*) > ?').pluck();
    this.countAll = db.prepare('SELECT count(*) FROM known_network').pluck();
    this.trim = db.prepare(
      `DELETE FROM known_network WHERE user = ? AND network IN
         (SELECT network FROM known_network WHERE user = ? ORDER BY seen DESC LIMIT -1 OFFSET ?)`,
    );
    this.trimAll = db.prepare(
      `DELETE FROM known_network WHERE (user, network) IN
         (SELECT user, network FROM known_network ORDER BY seen DESC LIMIT -1 OFFSET ?)`,
    );
    this.newest = db.prepare('SELECT max(seen) FROM known_network').pluck();
    this.prune = db.prepare('DELETE FROM known_network WHERE seen < ?');
  }

  /** How many are not written yet. */
  get unwritten(): number {
    return this.size;
  }

  /** All that are known, but for those that are not written yet. */
  count(): number {
    return Number(this.countAll.get());
  }

  /** A login of a user at a time, ms. @param address canonical text as from parseAddress */
  learn(user: string, address: string, time: number): void {
    const day = Math.floor(time / DAY_MS);
    const end = address.lastIndexOf('.');
    const place = end === -1 ? address : address.slice(0, end);
    let cached = this.cache.get(user);
    const last = cached?.get(place);
    if (last !== undefined && last >= day) return;
    if (++this.cached > CACHED) {
      this.cache.clear();
      this.cached = 1;
      cached = undefined;
    }
    if (cached === undefined) this.cache.set(user, new Map([[place, day]]));
    else cached.set(place, day);
    const network = homeNetwork(address);
    const known = this.pending.get(user) ?? new Map<string, number>();
    this.pending.set(user, known);
    if (!known.has(network)) this.size++;
    known.set(network, Math.max(day, known.get(network) ?? 0));
  }

  /** @param memoryDays how long a network stays known */
  familiarity(user: string, address: string, time: number, memoryDays: number): Familiarity {
    const network = homeNetwork(address);
    const learned = this.pending.get(user);
    const seen = Math.max(
      learned?.get(network) ?? 0,
      (this.find.get(user, network) as number | undefined) ?? 0,
    );
    if (seen > 0 && Math.floor(time / DAY_MS) - seen <= memoryDays) return 'known';
    return learned !== undefined || this.any.get(user) === 1 ? 'new' : 'first';
  }

  /** Inside a transaction. */
  write(): void {
    for (const [user, networks] of this.pending) {
      for (const [network, day] of networks) this.put.run(user, network, day);
    }
  }

  committed(): void {
    this.added += this.size;
    this.pending = new Map();
    this.size = 0;
  }

  /** Whether many were written since the last removal. */
  get isMuch(): boolean {
    return this.added >= REMOVED_AFTER;
  }

  /** Removes what is too old or too much. Inside a transaction. */
  removeOld(today: number, memoryDays: number): void {
    // A clock that was set forward must not make all networks old.
    const newest = Number(this.newest.get() ?? 0);
    this.prune.run(Math.min(today, newest) - memoryDays - USER_KEPT_DAYS);
    for (const user of this.crowded.all(MOST_OF_USER)) this.trim.run(user, user, MOST_OF_USER);
    this.added = 0;
    if (this.count() > MOST) this.trimAll.run(MOST);
  }
}
