/**
 * The hub's own audit table: the events of all servers, each once, those of a server in the order in which it wrote them.
 *
 * EXACTLY ONCE. How far the stream has been read stands in this database and moves in the transaction that writes the rows. What is sent
 * twice, or comes by two ways, has the same event id, which is unique here.
 *
 * ORDER. Each message names the one that its server published before it (of the same source and timeline). When JetStream changes its
 * leader in the middle of a batch, a message can get lost while later ones are stored; it is sent again and then stands behind
 * them. What comes before its predecessor waits in `held`, in this database, until that has come, or for ten minutes.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { HUB_DATABASE } from '../config/load.js';
import { AuditdError, messageOf } from '../errors.js';
import { type FleetEvent, parseFleet } from '../formats/fleet.js';
import { createAuditTable } from '../recorder/recorder.js';

/** How long an event waits for the one before it. */
export const HOLD_MS = 600_000;

/** The columns of Postern's table without its constraints: no row of no server may be refused. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at TEXT, user_id INTEGER, user_name TEXT, user_email TEXT, action TEXT, resource_type TEXT, resource_id TEXT,
    details TEXT, ip_address TEXT, server TEXT,
    event_id TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL, origin_source TEXT NOT NULL, origin_timeline INTEGER NOT NULL, origin_id INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS position (
    stream TEXT PRIMARY KEY, created TEXT NOT NULL, sequence INTEGER NOT NULL, message_id TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS origin (
    origin TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, last INTEGER NOT NULL,
    seen INTEGER NOT NULL, last_created TEXT, PRIMARY KEY (origin, source, timeline)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS held (
    origin TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, sequence INTEGER NOT NULL, after INTEGER NOT NULL,
    since INTEGER NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (origin, source, timeline, sequence));
`;

/** How far a stream has been read. */
export interface StreamPosition {
  /** When the stream was made, as NATS writes it: another one of the same name begins anew. */
  readonly created: string;
  readonly sequence: number;
  /** Id of the message there, '' if it had none. */
  readonly messageId: string;
}

/** A message, read. */
export interface Received {
  readonly subject: string;
  readonly body: string;
  readonly event: FleetEvent;
}

/** What became of messages. */
export interface Taken {
  inserted: number;
  duplicates: number;
  /** Came before their predecessor, and wait for it. */
  held: number;
  /** Waited in vain. */
  disordered: number;
}

interface Chain {
  readonly origin: string;
  readonly source: string;
  readonly timeline: number;
  last: number;
  /** When it was last heard of, milliseconds since the epoch, and the time of the event then, as its row has it. */
  seen: number;
  created: string | null;
  /** Events of it that are held. */
  waiting: number;
  changed: boolean;
}

export class HubTable {
  readonly db: Database.Database;
  readonly path: string;
  private chains = new Map<string, Chain>();
  private readonly sql: ReturnType<typeof statements>;

  /** @throws AuditdError `STATE_UNUSABLE` */
  constructor(directory: string) {
    this.path = hubDatabase(directory);
    const fresh = !existsSync(this.path);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o750 });
      this.db = new Database(this.path, { timeout: 5_000 });
      if (fresh) chmodSync(this.path, 0o640);
      this.db.pragma('journal_mode = WAL');
      this.db.pragma('synchronous = NORMAL');
      this.db.pragma('cache_size = -65536');
      this.db.exec(SCHEMA);
      createAuditTable(this.db); // the indexes that queries want
      this.sql = statements(this.db);
    } catch (error) {
      const next =
        'If it is damaged, move it away: it is filled again from the stream, as far as that goes back';
      throw new AuditdError('STATE_UNUSABLE', `${this.path} can't be used: ${messageOf(error)}. ${next}`, {
        cause: error,
      });
    }
  }

  position(stream: string): StreamPosition | null {
    return (this.sql.position.get(stream) as StreamPosition | undefined) ?? null;
  }

  /** The origin's id of a row; null if there is no such row. */
  eventIdOf(rowId: bigint | number): string | null {
    return (this.sql.eventId.get(rowId) as string | undefined) ?? null;
  }

  /** The row at or below an id: its event id. */
  eventIdUpTo(rowId: number): string | null {
    return (this.sql.eventIdUpTo.get(rowId) as string | undefined) ?? null;
  }

  rowOf(eventId: string): number | null {
    return (this.sql.rowOf.get(eventId) as number | undefined) ?? null;
  }

  /** Of each server: when an event of Postern's last came, and that event's own time. */
  lastEvents(): ReadonlyArray<{
    readonly origin: string;
    readonly seen: number;
    readonly created: string | null;
  }> {
    return this.sql.lastEvents.all() as Array<{ origin: string; seen: number; created: string | null }>;
  }

  get heldNow(): number {
    return this.sql.heldCount.get() as number;
  }

  /** Writes events and how far the stream has been read with them, all or nothing. */
  take(messages: readonly Received[], stream: string, position: StreamPosition, now: number): Taken {
    return this.whole(() => {
      const taken: Taken = { inserted: 0, duplicates: 0, held: 0, disordered: 0 };
      for (const message of messages) this.add(message, now, taken);
      this.release(now, taken);
      const { created, sequence, messageId } = position;
      this.sql.setPosition.run(stream, created, sequence, messageId);
      return taken;
    });
  }

  /** Gives up on predecessors that do not come. To be called now and then. */
  expire(now: number): Taken {
    const taken: Taken = { inserted: 0, duplicates: 0, held: 0, disordered: 0 };
    const oldest = this.sql.oldestHeld.get() as number | null;
    if (oldest === null || oldest > now - HOLD_MS) return taken;
    return this.whole(() => {
      this.release(now, taken);
      return taken;
    });
  }

  close(): void {
    if (this.db.open) this.db.close();
  }

  private whole<T>(work: () => T): T {
    try {
      return this.db.transaction(() => {
        const result = work();
        for (const chain of this.chains.values()) {
          if (!chain.changed) continue;
          this.sql.setLast.run(
            chain.origin,
            chain.source,
            chain.timeline,
            chain.last,
            chain.seen,
            chain.created,
          );
          chain.changed = false;
        }
        return result;
      })();
    } catch (error) {
      this.chains = new Map(); // they may know what is not written
      throw error;
    }
  }

  private add({ event, subject, body }: Received, now: number, taken: Taken): void {
    const chain = this.chainOf(event);
    if (event.after > chain.last && chain.last > 0) {
      const { origin, source, timeline, sequence, after } = event;
      chain.waiting += this.sql.hold.run(
        origin,
        source,
        timeline,
        sequence,
        after,
        now,
        subject,
        body,
      ).changes;
      taken.held++;
      return;
    }
    this.insert(event, taken);
    chain.seen = now;
    chain.created = event.columns[0] === null ? null : String(event.columns[0]);
    this.advance(chain, event.sequence);
    if (chain.waiting > 0) this.follow(chain, taken);
  }

  private insert(event: FleetEvent, taken: Taken): void {
    const { origin, source, timeline, sequence, id, columns } = event;
    const { changes } = this.sql.insert.run(...columns, id, origin, source, timeline, sequence);
    if (changes === 0) taken.duplicates++;
    else taken.inserted++;
  }

  private advance(chain: Chain, sequence: number): void {
    chain.last = Math.max(chain.last, sequence);
    chain.changed = true;
  }

  /** Inserts what was held for what has come now. */
  private follow(chain: Chain, taken: Taken): void {
    for (;;) {
      const next = this.sql.next.get(chain.origin, chain.source, chain.timeline) as Held | undefined;
      if (next === undefined || next.after > chain.last) return;
      this.letGo(chain, next, taken);
    }
  }

  private letGo(chain: Chain, { subject, body, sequence }: Held, taken: Taken): void {
    const event = parseFleet(subject, body);
    if (typeof event !== 'string') this.insert(event, taken);
    this.advance(chain, sequence);
    this.sql.unhold.run(chain.origin, chain.source, chain.timeline, sequence);
    chain.waiting--;
  }

  /** What has waited too long goes in all the same, in its order. */
  private release(now: number, taken: Taken): void {
    const oldest = this.sql.oldestHeld.get() as number | null;
    if (oldest === null || oldest > now - HOLD_MS) return;
    const late = this.sql.late.all(now - HOLD_MS) as Array<Pick<Chain, 'origin' | 'source' | 'timeline'>>;
    for (const key of late) {
      const chain = this.chainOf(key);
      const next = this.sql.next.get(key.origin, key.source, key.timeline) as Held | undefined;
      if (next === undefined) continue;
      taken.disordered++;
      this.letGo(chain, next, taken);
      this.follow(chain, taken);
    }
  }

  private chainOf({ origin, source, timeline }: Pick<Chain, 'origin' | 'source' | 'timeline'>): Chain {
    const key = `${source}/${timeline}/${origin}`;
    const known = this.chains.get(key);
    if (known !== undefined) return known;
    const last = (this.sql.last.get(origin, source, timeline) as number | undefined) ?? 0;
    const waiting = this.sql.heldOf.get(origin, source, timeline) as number;
    const chain: Chain = { origin, source, timeline, last, seen: 0, created: null, waiting, changed: false };
    this.chains.set(key, chain);
    return chain;
  }
}

export function hubDatabase(stateDirectory: string): string {
  return join(stateDirectory, HUB_DATABASE);
}

interface Held {
  readonly sequence: number;
  readonly after: number;
  readonly subject: string;
  readonly body: string;
}

function statements(db: Database.Database) {
  const one = 'origin = ? AND source = ? AND timeline = ?';
  return {
    position: db.prepare('SELECT created, sequence, message_id AS messageId FROM position WHERE stream = ?'),
    setPosition: db.prepare(
      'INSERT OR REPLACE INTO position (stream, created, sequence, message_id) VALUES (?, ?, ?, ?)',
    ),
    eventId: db.prepare('SELECT event_id FROM audit_log WHERE id = ?').pluck(),
    eventIdUpTo: db.prepare('SELECT event_id FROM audit_log WHERE id <= ? ORDER BY id DESC LIMIT 1').pluck(),
    rowOf: db.prepare('SELECT id FROM audit_log WHERE event_id = ?').pluck(),
    insert: db.prepare(
      `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address,
         server, event_id, origin, origin_source, origin_timeline, origin_id)
       VALUES (${Array(15).fill('?').join(', ')}) ON CONFLICT (event_id) DO NOTHING`,
    ),
    last: db.prepare(`SELECT last FROM origin WHERE ${one}`).pluck(),
    setLast: db.prepare(
      'INSERT OR REPLACE INTO origin (origin, source, timeline, last, seen, last_created) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    lastEvents: db.prepare(
      "SELECT origin, max(seen) AS seen, last_created AS created FROM origin WHERE source = 'postern' GROUP BY origin",
    ),
    hold: db.prepare(
      `INSERT OR IGNORE INTO held (origin, source, timeline, sequence, after, since, subject, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    unhold: db.prepare(`DELETE FROM held WHERE ${one} AND sequence = ?`),
    next: db.prepare(
      `SELECT sequence, after, subject, body FROM held WHERE ${one} ORDER BY sequence LIMIT 1`,
    ),
    heldOf: db.prepare(`SELECT count(*) FROM held WHERE ${one}`).pluck(),
    heldCount: db.prepare('SELECT count(*) FROM held').pluck(),
    oldestHeld: db.prepare('SELECT min(since) FROM held').pluck(),
    late: db.prepare('SELECT DISTINCT origin, source, timeline FROM held WHERE since <= ?'),
  };
}
