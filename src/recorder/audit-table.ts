import type Database from 'better-sqlite3';

export interface TableOptions {
  /** Default `audit_log`. */
  readonly table?: string;
}

/** A name as SQL takes it, quotes and all. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Columns in the order in which `INSERT` gives them; `id` is SQLite's. Never reorder: rows are read and hashed in this order.
 */
export const COLUMNS = [
  'created_at',
  'user_id',
  'user_name',
  'user_email',
  'action',
  'resource_type',
  'resource_id',
  'details',
  'ip_address',
  'server',
] as const;

/**
 * Columns that queries filter by. Every index contains the row id, so a page of one filter, newest first, is read from its index in
 * order. Columns that are often empty have a partial index: empty values are not written to it, and `column = ?` still uses it.
 */
const INDEXED: Readonly<Record<string, 'every row' | 'where it is not null'>> = {
  created_at: 'every row',
  action: 'every row',
  resource_type: 'where it is not null',
  user_id: 'where it is not null',
  user_name: 'where it is not null',
  user_email: 'where it is not null',
  ip_address: 'where it is not null',
  server: 'where it is not null',
};

/** An index that queries use. */
export interface AuditIndex {
  readonly name: string;
  readonly column: string;
  /** Creates the index if no index has that name. */
  readonly sql: string;
}

/**
 * The indexes that queries use.
 *
 * @param nameOf the name of a column in the table; null if the table does not have it
 */
export function auditIndexes(
  table = 'audit_log',
  nameOf: (column: string) => string | null = (column) => column,
): AuditIndex[] {
  return Object.entries(INDEXED).flatMap(([key, rows]) => {
    const column = nameOf(key);
    if (column === null) return [];
    const name = `${table}_${key}`;
    const where = rows === 'every row' ? '' : ` WHERE ${quoteIdentifier(column)} IS NOT NULL`;
    const sql = `CREATE INDEX IF NOT EXISTS ${quoteIdentifier(name)} ON ${quoteIdentifier(table)} (${quoteIdentifier(column)})${where}`;
    return [{ name, column, sql }];
  });
}

/** Which of `COLUMNS` a table has; none if there is no such table. */
export function columnsOf(db: Database.Database, table: string): ReadonlySet<string> {
  const names = db.prepare('SELECT lower(name) FROM pragma_table_info(?)').pluck().all(table) as string[];
  return new Set(names);
}

/**
 * Creates the audit table and its indexes if they are missing. It changes nothing that exists; a column that an existing table lacks gets
 * no index.
 *
 * The id is AUTOINCREMENT and never used twice: readers track ids.
 */
export function createAuditTable(db: Database.Database, options: TableOptions = {}): void {
  const { table = 'audit_log' } = options;
  db.exec(`CREATE TABLE IF NOT EXISTS ${quoteIdentifier(table)} (
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
  const there = columnsOf(db, table);
  for (const { sql } of auditIndexes(table, (column) => (there.has(column) ? column : null))) db.exec(sql);
}
