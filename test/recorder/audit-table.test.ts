import { describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { auditIndexes, createAuditTable } from '../../src/recorder/recorder.js';

function opened(): Database {
  return new Database(':memory:');
}

function plan(db: Database, sql: string): string {
  const steps = db
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all(...(sql.match(/\?/g) ?? []).map(() => 1)) as Array<{ detail: string }>;
  return steps.map(({ detail }) => detail).join('; ');
}

describe('the audit table', () => {
  it('has the columns of the product page, and ids that are never used twice', () => {
    const db = opened();
    createAuditTable(db);
    const columns = db.prepare("SELECT name FROM pragma_table_info('audit_log')").pluck().all();
    expect(columns).toEqual([
      ...['id', 'created_at', 'user_id', 'user_name', 'user_email', 'action'],
      ...['resource_type', 'resource_id', 'details', 'ip_address', 'server'],
    ]);
    db.exec("INSERT INTO audit_log (action) VALUES ('a'), ('b'); DELETE FROM audit_log");
    expect(db.prepare("INSERT INTO audit_log (action) VALUES ('c')").run().lastInsertRowid).toBe(3);
    expect(db.prepare('SELECT created_at FROM audit_log').pluck().get()).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/,
    );
  });

  it('is created once and then left as it is', () => {
    const db = opened();
    createAuditTable(db);
    db.exec("INSERT INTO audit_log (action) VALUES ('a')");
    const before = db.prepare('SELECT sql FROM sqlite_schema ORDER BY name').all();
    createAuditTable(db);
    expect(db.prepare('SELECT sql FROM sqlite_schema ORDER BY name').all()).toEqual(before);
    expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(1);
  });

  it('may have any name', () => {
    const db = opened();
    createAuditTable(db, { table: 'odd "name"' });
    expect(db.prepare('SELECT count(*) FROM "odd ""name"""').pluck().get()).toBe(0);
  });

  it('gets the indexes of the columns that an existing table has', () => {
    const db = opened();
    db.exec('CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, Action TEXT)');
    createAuditTable(db);
    const indexes = db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY name")
      .pluck()
      .all();
    expect(indexes).toEqual(['audit_log_action', 'audit_log_created_at']);
  });

  it.each(['action', 'resource_type', 'user_id', 'user_name', 'user_email', 'ip_address', 'server'])(
    'gives a page of one %s, newest first, from its index and without sorting',
    (column) => {
      const db = opened();
      createAuditTable(db);
      const page = `SELECT * FROM audit_log WHERE ${column} = ? AND id < ? ORDER BY id DESC LIMIT 50`;
      expect(plan(db, page)).toBe(
        `SEARCH audit_log USING INDEX audit_log_${column} (${column}=? AND rowid<?)`,
      );
    },
  );

  it('finds a range of dates in its index', () => {
    const db = opened();
    createAuditTable(db);
    expect(plan(db, 'SELECT min(id) FROM audit_log WHERE created_at >= ? AND created_at < ?')).toContain(
      'USING COVERING INDEX audit_log_created_at',
    );
  });

  it('gets its indexes by the names of its own columns in a table of another program', () => {
    const db = opened();
    db.exec('CREATE TABLE "log" (id INTEGER PRIMARY KEY, "created on" TEXT, verb TEXT)');
    const names: Readonly<Record<string, string>> = { created_at: 'created on', action: 'verb' };
    const indexes = auditIndexes('log', (column) => names[column] ?? null);
    expect(indexes.map(({ name, column }) => [name, column])).toEqual([
      ['log_created_at', 'created on'],
      ['log_action', 'verb'],
    ]);
    for (const { sql } of [...indexes, ...indexes]) db.exec(sql);
    expect(plan(db, 'SELECT * FROM log WHERE verb = ?')).toContain('log_action');
  });
});
