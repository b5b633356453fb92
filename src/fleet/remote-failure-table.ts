import type Database from 'better-sqlite3';
import type { ColumnValue } from '../audit/event.js';

/** A failed login at another server that was let in. */
export interface RemoteFailure {
  readonly eventId: string;
  /** Token of the server that told of it. */
  readonly origin: string;
  readonly server: string;
  readonly createdAt: ColumnValue;
  readonly userName: ColumnValue;
  readonly userEmail: ColumnValue;
  readonly address: string;
}

/** Older rows are removed, but for the newest: it is the mark of who reads the table. */
const KEPT_MS = 86_400_000;

/** The table in state.db that the source `fleet` reads. Ids are unique: what is told twice counts once, also over a restart. */
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

  /** How many of them were new. */
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
      // Twice what has come: what is old grows less, whatever comes.
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
