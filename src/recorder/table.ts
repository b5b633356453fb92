import type Database from 'better-sqlite3';

/** A name as SQL takes it, quotes and all. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The indexes that queries need, by what they filter; `id` is part of each, as the rowid is of every index. */
export const INDEXES: Readonly<Record<string, string>> = {
  created_at: 'created_at',
  resource: 'resource_type',
  action: 'action',
  user_id: 'user_id',
  user_name: 'user_name',
  user_email: 'user_email',
  ip_address: 'ip_address',
  server: 'server',
};

/**
 * Makes the audit table and its indexes where they are missing. Changes nothing that is there.
 *
 * AUTOINCREMENT, so that an id is never used twice: readers track ids.
 */
export function createAuditTable(db: Database.Database, options: { table?: string } = {}): void {
  const table = options.table ?? 'audit_log';
  db.exec(`CREATE TABLE IF NOT EXISTS ${quoted(table)} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    user_id INTEGER,
    user_name TEXT,
    user_email TEXT,
    action TEXT NOT NULL,
    resource_type TEXT,
    resource_id TEXT,
    details TEXT,
    ip_address TEXT,
    server TEXT
  )`);
  for (const [name, column] of Object.entries(INDEXES)) {
    db.exec(`CREATE INDEX IF NOT EXISTS ${quoted(`${table}_${name}`)} ON ${quoted(table)} (${column})`);
  }
}
