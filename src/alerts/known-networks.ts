import type Database from 'better-sqlite3';
import { homeNetwork } from './facts.js';

export const DAY_MS = 86_400_000;
/** Of a user: one who logs in through very many networks is alerted about again. */
const MOST_OF_USER = 1_000;
const MOST = 200_000;
/** Logins that were learned last, so that a backlog of them costs a look into memory. */
const CACHED = 10_000;
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
  private readonly cache = new Map<string, number>();
  private readonly find: Database.Statement;
  private readonly any: Database.Statement;
  private readonly put: Database.Statement;
  private readonly count: Database.Statement;
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
    this.count = db.prepare('SELECT count(*) FROM known_network WHERE user = ?').pluck();
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

  /** A login of a user at a time, ms. @param address canonical text as from parseAddress */
  learn(user: string, address: string, time: number): void {
    const day = Math.floor(time / DAY_MS);
    const key = `${user} ${address}`;
    if ((this.cache.get(key) ?? 0) >= day) return;
    if (this.cache.size >= CACHED) this.cache.clear();
    this.cache.set(key, day);
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
      if (Number(this.count.get(user)) > MOST_OF_USER) this.trim.run(user, user, MOST_OF_USER);
    }
  }

  committed(): void {
    this.pending = new Map();
    this.size = 0;
  }

  /** Removes what is too old or too much. Inside a transaction. */
  removeOld(today: number, memoryDays: number): void {
    // A clock that was set forward must not make all networks old.
    const newest = Number(this.newest.get() ?? 0);
    this.prune.run(Math.min(today, newest) - memoryDays - USER_KEPT_DAYS);
    if (Number(this.countAll.get()) > MOST) this.trimAll.run(MOST);
  }
}
