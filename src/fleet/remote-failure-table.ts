import type Database from 'better-sqlite3';
import type { ColumnValue } from '../audit/event.js';

/** An admitted failed login at another server. */
export interface RemoteFailure {
  readonly eventId: string;
  /** Token of the server that published it. */
  readonly origin: string;
  readonly server: string;
  readonly createdAt: ColumnValue;
  readonly userName: ColumnValue;
  readonly userEmail: ColumnValue;
  readonly address: string;
}

/** Older rows are removed, except the newest one, which is the reader's high-water mark. */
const KEPT_MS = 86_400_000;

/** The table in state.db that the source `fleet` reads. Event ids are unique: a failed login that arrives twice counts once, also across a restart. */
export class RemoteFailureTable {
  static readonly table = 'fleet_failure';
  private readonly insert: Database.Statement;
  private readonly prune: Database.Statement;
  private readonly recent: Database.Statement;
  private readonly eventId: Database.Statement;

  constructor(private readonly db: Database.Database) {
    db.exec(`CREATE TABLE IF NOT EXISTS fleet_failure (
      id INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT, user_id INTEGER, user_name TEXT, user_email TEXT, action TEXT,
      resource_type TEXT, resource_id TEXT, details TEXT, ip_address TEXT, server TEXT,
      event_id TEXT NOT NULL UNIQUE, origin TEXT NOT NULL, received INTEGER NOT NULL)`);
    this.insert = db.prepare(
      `INSERT INTO fleet_failure (created_at, user_name, user_email, action, ip_address, server, event_id, origin, received)
       VALUES (?, ?, ?, 'auth.login_failure', ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING`,
    );
    this.prune = db.prepare(
      'DELETE FROM fleet_failure WHERE id IN (SELECT id FROM fleet_failure ORDER BY id LIMIT ?) AND received < ? AND id < (SELECT max(id) FROM fleet_failure)',
    );
    this.recent = db.prepare(
      'SELECT origin, ip_address AS address, received FROM fleet_failure WHERE received > ? ORDER BY id',
    );
    this.eventId = db.prepare('SELECT event_id FROM fleet_failure WHERE id = ?').pluck();
  }

  /** @returns how many of them were new */
  add(failures: readonly RemoteFailure[], now: number): number {
    return this.db.transaction(() => {
      let added = 0;
      for (const { createdAt, userName, userEmail, address, server, eventId, origin } of failures) {
        added += this.insert.run(
          createdAt,
          userName,
          userEmail,
          address,
          server,
          eventId,
          origin,
          now,
        ).changes;
      }
      // Twice as many as arrived, so that the number of old rows always shrinks.
      this.prune.run(2 * failures.length, now - KEPT_MS);
      return added;
    })();
  }

  since(
    time: number,
  ): ReadonlyArray<{ readonly origin: string; readonly address: string; readonly received: number }> {
    return this.recent.all(time) as Array<{ origin: string; address: string; received: number }>;
  }

  eventIdOf(rowId: bigint): string | null {
    return (this.eventId.get(rowId) as string | undefined) ?? null;
  }
}
