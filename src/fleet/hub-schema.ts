import type Database from 'better-sqlite3';

/**
 * `audit_log` has the columns of Postern's table without its constraints: no server's row may be rejected. `removed` has the ids of all
 * deleted rows, so that a row that is sent again does not return: about 20 bytes a row.
 */
export const HUB_SCHEMA = `
  CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at TEXT, user_id INTEGER, user_name TEXT, user_email TEXT, action TEXT, resource_type TEXT, resource_id TEXT,
    details TEXT, ip_address TEXT, server TEXT,
    event_id TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL, origin_source TEXT NOT NULL, origin_timeline INTEGER NOT NULL, origin_id INTEGER NOT NULL,
    revision_of INTEGER, revised_action TEXT);
  CREATE TABLE IF NOT EXISTS position (
    stream TEXT PRIMARY KEY, created TEXT NOT NULL, sequence INTEGER NOT NULL, message_id TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS origin (
    origin TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, last INTEGER NOT NULL,
    seen INTEGER NOT NULL, last_created TEXT, PRIMARY KEY (origin, source, timeline)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS held (
    origin TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, sequence INTEGER NOT NULL, after INTEGER NOT NULL,
    since INTEGER NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (origin, source, timeline, sequence));
  CREATE INDEX IF NOT EXISTS held_since ON held (since);
  CREATE TABLE IF NOT EXISTS removed (event_id BLOB PRIMARY KEY) WITHOUT ROWID;
  CREATE TRIGGER IF NOT EXISTS remember_removed AFTER DELETE ON audit_log BEGIN
    INSERT OR IGNORE INTO removed (event_id) VALUES (unhex(OLD.event_id));
  END;
`;

/** Columns that tables of earlier releases lack. */
export const HUB_REVISIONS = ['revision_of INTEGER', 'revised_action TEXT'];

/** Look up the versions of an edited row by the row, and a row by the id that it has at its server. */
export const HUB_INDEXES = `
  CREATE INDEX IF NOT EXISTS audit_log_revision ON audit_log (origin, revision_of) WHERE revision_of IS NOT NULL;
  CREATE INDEX IF NOT EXISTS audit_log_origin ON audit_log (origin, origin_id) WHERE origin_source = 'postern';
`;

export type HubStatements = Readonly<
  Record<
    | 'position'
    | 'setPosition'
    | 'eventId'
    | 'eventIdUpTo'
    | 'rowOf'
    | 'originOf'
    | 'insert'
    | 'anyRemoved'
    | 'isRemoved'
    | 'chain'
    | 'setLast'
    | 'lastEvents'
    | 'known'
    | 'hold'
    | 'unhold'
    | 'next'
    | 'heldBody'
    | 'heldOf'
    | 'heldCount'
    | 'oldestHeld'
    | 'late'
    | 'unchain',
    Database.Statement
  >
>;

/** The statements of the hub's table. */
export function hubStatements(db: Database.Database): HubStatements {
  const one = 'origin = ? AND source = ? AND timeline = ?';
  return {
    position: db.prepare('SELECT created, sequence, message_id AS messageId FROM position WHERE stream = ?'),
    setPosition: db.prepare(
      'INSERT OR REPLACE INTO position (stream, created, sequence, message_id) VALUES (?, ?, ?, ?)',
    ),
    eventId: db.prepare('SELECT event_id FROM audit_log WHERE id = ?').pluck(),
    eventIdUpTo: db.prepare('SELECT event_id FROM audit_log WHERE id <= ? ORDER BY id DESC LIMIT 1').pluck(),
    originOf: db.prepare('SELECT origin FROM audit_log WHERE event_id = ?').pluck(),
    rowOf: db.prepare('SELECT id FROM audit_log WHERE event_id = ?').pluck(),
    // Not `INSERT … SELECT`: SQLite writes a statement journal for each, which nearly tripled the cost of an event (23 µs to 62).
    insert: db.prepare(
      `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address,
         server, event_id, origin, origin_source, origin_timeline, origin_id, revision_of, revised_action)
       VALUES (${Array(17).fill('?').join(', ')}) ON CONFLICT (event_id) DO NOTHING`,
    ),
    anyRemoved: db.prepare('SELECT EXISTS (SELECT 1 FROM removed)').pluck(),
    isRemoved: db.prepare('SELECT 1 FROM removed WHERE event_id = unhex(?)').pluck(),
    chain: db.prepare(`SELECT last, seen, last_created AS created FROM origin WHERE ${one}`),
    setLast: db.prepare(
      'INSERT OR REPLACE INTO origin (origin, source, timeline, last, seen, last_created) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    lastEvents: db.prepare(
      "SELECT origin, max(seen) AS seen, last_created AS created FROM origin WHERE source = 'postern' GROUP BY origin",
    ),
    known: db.prepare(
      `SELECT origin AS server, timeline, abs(last) AS row, last_created AS time FROM origin WHERE source = 'postern' ORDER BY seen DESC LIMIT ?`,
    ),
    hold: db.prepare(
      `INSERT OR IGNORE INTO held (origin, source, timeline, sequence, after, since, subject, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    unhold: db.prepare(`DELETE FROM held WHERE ${one} AND sequence = ?`),
    next: db.prepare(
      `SELECT sequence, after, subject, body FROM held WHERE ${one} ORDER BY sequence LIMIT 1`,
    ),
    heldBody: db.prepare(`SELECT body FROM held WHERE ${one} AND sequence = ?`).pluck(),
    heldOf: db.prepare(`SELECT count(*) FROM held WHERE ${one}`).pluck(),
    heldCount: db.prepare('SELECT count(*) FROM held').pluck(),
    oldestHeld: db.prepare('SELECT min(since) FROM held').pluck(),
    late: db.prepare('SELECT origin, source, timeline FROM held WHERE since <= ? ORDER BY since LIMIT 1'),
    // Negative: the row is still known, but no event waits for it.
    unchain: db.prepare('UPDATE origin SET last = -abs(last)'),
  };
}
