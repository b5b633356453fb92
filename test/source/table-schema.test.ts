import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { nearest } from '../../src/audit/did-you-mean.js';
import { config as schema } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { TableCache } from '../../src/source/table-schema.js';
import { openSource, reading, request, START, TABLE, temporaryDirectory } from './postern-fixture.js';

function cacheFor(source: Record<string, unknown> = {}): TableCache {
  return new TableCache(schema.parse({ source }).source);
}

function memory(sql: string): Database {
  const db = new Database(':memory:');
  db.exec(sql);
  onTestFinished(() => {
    db.close();
  });
  return db;
}

function databaseWith(sql: string): { database: string; db: Database } {
  const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
  const db = new Database(database);
  db.exec(sql);
  onTestFinished(() => {
    db.close();
  });
  return { database, db };
}

describe('the table', () => {
  test('a table is read with renamed and reordered columns, in any case, and with names that need quotes', () => {
    const { database } = databaseWith(`
      CREATE TABLE "audit ""log""" ("when?" TEXT, ACTION TEXT, "who is; it" TEXT, "Row-Id" INTEGER PRIMARY KEY);
      INSERT INTO "audit ""log""" VALUES ('2026-11-22 20:21:00', 'login', 'Ann', 4)`);
    const { source, warnings } = openSource(database, {
      source: {
        table: 'audit "log"',
        columns: { id: 'row-id', created_at: 'when?', user_name: 'who is; it', user_email: 'mail' },
      },
    });
    const [event] = reading(source.read(request(START))).events;
    expect(event).toMatchObject({
      sequence: 4,
      rawAction: 'login',
      user: { name: 'Ann', email: null },
      time: Date.UTC(2026, 10, 22, 20, 21),
    });
    expect(warnings).toEqual([
      'table audit "log" has no column mail, which source.columns.user_email names; events are shipped without it',
    ]);
  });

  test('a renamed column changes no event id', () => {
    const ids = ['created_at', 'created_on'].map((name) => {
      const { database } =
        databaseWith(`CREATE TABLE audit_log (id INTEGER PRIMARY KEY, ${name} TEXT, action TEXT);
        INSERT INTO audit_log VALUES (1, '2026-11-22 20:21:00', 'login')`);
      return reading(
        openSource(database, { source: { columns: { created_at: name } } }).source.read(request(START)),
      ).events[0]?.id;
    });
    expect(ids[0]).toBe(ids[1]);
  });

  test.each([
    ['id', 'CREATE TABLE audit_log (nr INTEGER PRIMARY KEY, created_at, action)', 'nr, created_at, action'],
    ['created_at', 'CREATE TABLE audit_log (id INTEGER PRIMARY KEY, action)', 'id, action'],
    ['action', 'CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at)', 'id, created_at'],
  ])(
    'the error for a missing column (%s) names it, the existing columns and the key',
    (column, sql, columns) => {
      expect(cacheFor().get(memory(sql))).toMatchObject({
        state: 'no_column',
        message: `table audit_log has no column ${column}; its columns are ${columns}. Name the right one under source.columns.${column}`,
      });
    },
  );

  test.each([
    'id TEXT PRIMARY KEY',
    'id INT PRIMARY KEY',
    'id INTEGER',
    'id INTEGER, PRIMARY KEY (id, action)',
  ])("an id column that can't be followed is rejected: %s", (id) => {
    const sql = `CREATE TABLE audit_log (created_at, action, ${id})`;
    expect(cacheFor().get(memory(sql))).toMatchObject({
      state: 'no_column',
      message: expect.stringMatching(/not its INTEGER PRIMARY KEY/),
    });
  });

  test('the error for UUID keys shows a view that helps', () => {
    const { database, db } = databaseWith(`
      CREATE TABLE audit_log (id TEXT PRIMARY KEY, created_at TEXT, action TEXT, ip_address TEXT);
      INSERT INTO audit_log VALUES ('0f1c8a5e-5b7c-4f7e-9a57-3b2a1c9d0e4f', '2026-11-22 20:21:00', 'login', '203.0.113.7'),
        ('7b0e4c1d-2a3b-4c5d-8e9f-0a1b2c3d4e5f', '2026-11-22 20:21:01', 'logout', NULL)`);
    const look = openSource(database).source.read(request(START));
    expect(look).toMatchObject({ state: 'no_column' });
    const message = 'message' in look ? look.message : '';
    expect(message).toMatch(/: column id of table audit_log \(TEXT\) is not its INTEGER PRIMARY KEY/);
    expect(message).toContain('VACUUM renumbers them');
    const [, view = '', name = ''] = /run (CREATE VIEW .*); and set source\.table: (\w+)/.exec(message) ?? [];
    db.exec(view);
    const { events } = reading(openSource(database, { source: { table: name } }).source.read(request(START)));
    expect(events.map(({ sequence, rawAction, address }) => [sequence, rawAction, address])).toEqual([
      [1, 'login', '203.0.113.7'],
      [2, 'logout', null],
    ]);
  });

  test.each([
    ['seq INTEGER PRIMARY KEY, id TEXT', '', /Set source\.columns\.id: seq, which is$/],
    [
      'id TEXT PRIMARY KEY',
      ' WITHOUT ROWID',
      /WITHOUT ROWID and has no other number: Postern has to give it/,
    ],
  ])('%s%s: names what there is', (columns, end, next) => {
    const sql = `CREATE TABLE audit_log (${columns}, created_at, action)${end}`;
    expect(cacheFor().get(memory(sql))).toMatchObject({ message: expect.stringMatching(next) });
  });

  test('generated columns are read', () => {
    const { database } = databaseWith(`
      CREATE TABLE audit_log (id INTEGER PRIMARY KEY, at INTEGER, action, created_at AS (datetime(at, 'unixepoch')), server AS ('a') STORED);
      INSERT INTO audit_log (at, action) VALUES (1795378860, 'login')`);
    const [event] = reading(openSource(database).source.read(request(START))).events;
    expect(event).toMatchObject({ time: 1_795_378_860_000, server: 'a' });
  });

  test('a view can replace a table; rows without an integer id are skipped', () => {
    const { database, db } = databaseWith(`${TABLE};
      INSERT INTO audit_log (created_at, action) VALUES ('2026-11-22 20:21:00', 'login'), ('2026-11-22 20:21:01', 'logout');
      CREATE VIEW audit_view AS SELECT id, created_at, upper(action) AS action FROM audit_log
        UNION ALL SELECT 'x', 'y', 'z'`);
    const { source } = openSource(database, { source: { table: 'audit_view' } });
    const look = reading(source.read(request(START)));
    expect(look).toMatchObject({ upTo: 2, maxId: 2, more: false });
    expect(look.events.map((event) => event.rawAction)).toEqual(['LOGIN', 'LOGOUT']);
    // What a view shows can change without the view's own SQL.
    db.exec(
      "DROP VIEW audit_view; CREATE VIEW audit_view AS SELECT * FROM audit_log; ALTER TABLE audit_log ADD COLUMN server TEXT DEFAULT 's'",
    );
    expect(reading(source.read(request(START))).events[0]).toMatchObject({ rawAction: 'login', server: 's' });
  });

  test('the error for a missing table names the nearest table, or all', () => {
    expect(cacheFor().get(memory('CREATE TABLE auditlog (id)'))).toMatchObject({
      state: 'no_table',
      message:
        "the database has no table audit_log; the nearest name is auditlog. Set source.table if Postern's audit log has another name",
    });
    expect(cacheFor().get(memory('CREATE TABLE users (id); CREATE TABLE hosts (id)'))).toMatchObject({
      message: expect.stringMatching(/its tables are users, hosts\./),
    });
  });

  test('a table is inspected again only if its SQL changes', () => {
    const seen: unknown[] = [];
    const cache = new TableCache(schema.parse({}).source, (table) => seen.push(table));
    const db = memory(TABLE);
    const first = cache.get(db);
    db.exec('CREATE TABLE other (a)');
    expect(cache.get(db)).toBe(first);
    db.exec('ALTER TABLE audit_log ADD COLUMN server TEXT');
    expect(cache.get(db)).not.toBe(first);
    expect(seen).toHaveLength(2);
  });
});

describe('the constant default of a new column', () => {
  test.each<[string, unknown]>([
    ["TEXT DEFAULT 'a''b'", "a'b"],
    ['TEXT DEFAULT 7', '7'],
    ['INTEGER DEFAULT 7', 7n],
    ["INTEGER DEFAULT '7'", 7n],
    ['REAL DEFAULT 7', 7],
    ['DEFAULT -1.5', -1.5],
    ['DEFAULT (3)', 3n],
    ["BLOB DEFAULT x'00ff'", Buffer.from([0, 255])],
    ['BOOLEAN DEFAULT true', 1n],
    ['VARCHAR(20) DEFAULT 1', '1'],
    ['TEXT DEFAULT NULL', undefined],
    ['TEXT DEFAULT CURRENT_TIMESTAMP', undefined],
    ["TEXT DEFAULT (datetime('now'))", undefined],
    ['TEXT', undefined],
  ])('server %s', (column, value) => {
    const db = memory(
      `CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at, action, server ${column})`,
    );
    const table = cacheFor().get(db);
    expect('defaults' in table ? table.defaults[10] : table).toEqual(value);
  });

  test('the default of an original column does not count', () => {
    const db = memory("CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at, action TEXT DEFAULT 'x')");
    const table = cacheFor().get(db);
    expect('defaults' in table ? table.defaults[5] : table).toBeUndefined();
  });
});

test.each<[string, string[], string | null]>([
  ['audit_log', ['users', 'auditlog', 'log'], 'auditlog'],
  ['audit_log', ['AUDIT_LOGS'], 'AUDIT_LOGS'],
  ['audit_log', ['users', 'hosts'], null],
  ['audit_log', [], null],
])('the name nearest to %s among %o', (name, names, found) => {
  expect(nearest(name, names)).toBe(found);
});
