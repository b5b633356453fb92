import { statSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import Database from '../../src/load-sqlite.js';
import { QueryEngine } from '../../src/query/engine.js';
import { EVERYTHING, type Filter, type FilterInput, parseFilter } from '../../src/query/filter.js';
import type { PageRequest } from '../../src/query/page.js';
import { branchParams, branchSql } from '../../src/query/plan/index-condition.js';
import { planQuery } from '../../src/query/plan/plan.js';
import { inspectTable } from '../../src/query/plan/table-schema.js';
import { SERVER, seconds, Tables, type TestRow } from './tables.js';

const ROWS = 6_000;

function manyRows(count = ROWS): TestRow[] {
  return Array.from({ length: count }, (_, at) => ({
    created_at: seconds(at * 60),
    user_id: at % 7,
    user_name: `user${at % 7}`,
    user_email: `user${at % 7}@example.net`,
    action: ['update', 'login_failure', 'create'][at % 3],
    resource_type: ['proxy_host', 'auth', 'user'][at % 3],
    details: `{"n":${at}}`,
    ip_address: `203.0.113.${at % 200}`,
    server: at % 2 === 0 ? 'proxy-2' : null,
  }));
}

let tables: Tables;
let engine: QueryEngine;
beforeEach(() => {
  tables = new Tables();
  engine = new QueryEngine(tables.options());
});
afterEach(() => {
  engine.close();
  tables.remove();
});

function page(filter: Partial<Filter>, more: Partial<PageRequest> = {}) {
  const request = { page: 1, limit: 50, cursor: null, count: 'some', timeLimit: 60_000 } as const;
  return engine.page({ ...request, filter: { ...EVERYTHING, ...filter }, ...more });
}

it('a query returns numbers exactly, also those that a double can not hold', () => {
  const ids = [7n, 9_007_199_254_740_993n, -9_007_199_254_740_993n, 2n ** 63n - 1n, -(2n ** 63n), 1e300, 0.5];
  tables.insert(
    ids.map((user_id, at) => ({ user_id, created_at: BigInt(1_700_000_000 + at), action: 'update' })),
  );
  const all = page({ source: 'postern' }).entries.toReversed();
  expect(all.map(({ user }) => user.id)).toEqual(ids.map(String));
  expect(all.map(({ created_at }) => Date.parse(created_at ?? '') / 1_000 - 1_700_000_000)).toEqual([
    ...ids.keys(),
  ]);
  for (const id of ids.slice(0, 5)) {
    const { entries } = page({ source: 'postern', user: String(id) });
    expect(entries.map(({ user }) => user.id)).toEqual([String(id)]);
  }
});

it('a query returns each row of a view with its own numbers, if two have the same id', () => {
  tables.insert([{ user_id: 9_007_199_254_740_993n }]);
  tables.postern.exec(`CREATE TABLE other AS SELECT * FROM audit_log; UPDATE other SET user_id = user_id + 2;
    CREATE VIEW both AS SELECT * FROM audit_log UNION ALL SELECT * FROM other`);
  const view = new QueryEngine(tables.options({ table: 'both' }));
  try {
    const filter: Filter = { ...EVERYTHING, source: 'postern' };
    const { entries } = view.page({
      filter,
      page: 1,
      limit: 50,
      cursor: null,
      count: 'some',
      timeLimit: 60_000,
    });
    expect(entries.map(({ user }) => user.id)).toEqual(['9007199254740993', '9007199254740995']);
  } finally {
    view.close();
    tables.postern.exec('DROP VIEW both; DROP TABLE other');
  }
});

it('a query prepares no statement per row for numbers that a double can not hold', () => {
  tables.insert(Array.from({ length: 200 }, (_, at) => ({ user_id: 2n ** 60n + BigInt(at) })));
  const prepared = vi.spyOn(Database.prototype, 'prepare');
  expect(page({ source: 'postern' }, { limit: 200 }).entries).toHaveLength(200);
  expect(prepared.mock.calls.length).toBeLessThan(50);
  prepared.mockRestore();
});

describe('the lookup of a filter', () => {
  const single: FilterInput[] = [
    { resource_type: 'auth' },
    { action: 'auth.login_failure' },
    { action: 'update' },
    { user: '3' },
    { user: 'user3' },
    { user: 'user3@example.net' },
    { server: 'proxy-2' },
    { ip: '203.0.113.7' },
    { ip: '203.0.113.0/24' },
    { outcome: 'failure' },
    { source: 'postern' },
    { from: '2026-11-03' },
    { to: '2026-11-03' },
    {},
  ];

  it.each(single)('the filter %j scans no whole table and sorts nothing', (input) => {
    tables.insert(manyRows());
    const db = tables.postern;
    const table = inspectTable(db, tables.options());
    const context = { classify: createClassifier(), server: SERVER, trusted: null, mayPrefilter: true };
    const plan = planQuery(db, table, parseFilter(input, Date.now()), context, [
      { lowest: 1, highest: ROWS },
    ]);
    const byId = ['source', 'from', 'to'].some((key) => key in input) || Object.keys(input).length === 0;
    expect(plan.branches === null).toBe(byId);
    const statements = plan.branches?.map((branch) => ({
      sql: branchSql(table, branch, `AND ${table.columns.id} < ? AND ${table.columns.id} >= ?`, 'LIMIT ?'),
      params: [...branchParams(branch), ROWS, 1, 50],
    })) ?? [
      {
        sql: `SELECT * FROM ${table.byId} WHERE ${table.columns.id} < ? AND ${table.columns.id} >= ? ORDER BY id DESC LIMIT ?`,
        params: [ROWS, 1, 50],
      },
    ];
    for (const { sql, params } of statements) {
      const steps = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(params) as Array<{ detail: string }>;
      for (const { detail } of steps) {
        expect(detail).toMatch(/^SEARCH |^CORRELATED SCALAR SUBQUERY/); // whose own steps are among these
        expect(detail).not.toContain('TEMP B-TREE');
      }
    }
  });
});

describe('hostile and unusual values', () => {
  it.each([
    "' OR 1=1 --",
    '"; DROP TABLE audit_log; --',
    '%',
    '_',
    '\u0000',
    '\ud800',
    '?1',
    '*',
    '\\',
    "x' UNION SELECT 1",
  ])('SQL and special characters in a filter are only values: %j', (value) => {
    tables.insert(manyRows(100));
    for (const key of ['resourceType', 'action', 'user', 'server', 'q'] as const) {
      expect(page({ [key]: value }).entries).toEqual([]);
    }
    expect(page({}).total).toBe(100);
  });

  it('a query returns the beginning of long text if no more is requested', () => {
    const name = 'n'.repeat(5_000);
    tables.insert([
      { details: `{"a":"${'x'.repeat(9_000)}"}`, user_name: name, action: 'login' },
      { details: '{"b":1}' },
    ]);
    const [short, long] = page({}, { brief: 100 }).entries;
    expect(short?.details).toEqual({ b: 1 });
    expect(long?.details).toBe(`{"a":"${'x'.repeat(94)}`);
    expect(long?.user.name).toBe(name.slice(0, 1_000));
    const [, whole] = page({}).entries;
    expect([whole?.user.name, whole?.details]).toEqual([name, { a: 'x'.repeat(9_000) }]);
  });

  it('a search does not find secrets, which are masked', () => {
    tables.insert([{ details: '{"password":"hunter2","name":"x"}' }]);
    expect(page({ q: 'hunter2' }).entries).toEqual([]);
    expect(page({ q: '***' }).entries[0]?.details).toEqual({ password: '***', name: 'x' });
  });

  it('a time that can not be read is shown unchanged', () => {
    tables.insert([{ created_at: 'yesterday' }]);
    expect(page({}).entries[0]?.created_at).toBe('yesterday');
    expect(page({ from: 0 }).entries).toEqual([]);
  });

  it('a query uses the configured names of the columns', () => {
    tables.postern.exec(
      'CREATE TABLE events (no INTEGER PRIMARY KEY, at TEXT, what TEXT, who TEXT); CREATE INDEX e ON events (who)',
    );
    tables.postern.exec("INSERT INTO events VALUES (5, '2026-11-01 00:00:00', 'logout', 'ann')");
    const columns = { id: 'no', created_at: 'at', action: 'WHAT', user_name: 'who' };
    const mapped = new QueryEngine(tables.options({ table: 'events', columns }));
    const request = { page: 1, limit: 5, cursor: null, count: 'some', timeLimit: 9_000 } as const;
    const found = mapped.page({ ...request, filter: { ...EVERYTHING, user: 'ann', action: 'auth.logout' } });
    mapped.close();
    expect(found.entries).toMatchObject([{ id: 'postern:5', user: { name: 'ann' }, server: SERVER }]);
  });

  it.each(['action', 'action) WHERE (action IS NOT NULL', 'user_name'])(
    'an entry without an action is found, with an index on (%s)',
    (indexed) => {
      tables.postern.exec(`CREATE TABLE loose (id INTEGER PRIMARY KEY, created_at TEXT, action TEXT, user_name TEXT);
        CREATE INDEX some ON loose (${indexed});
        INSERT INTO loose (created_at, action) VALUES ('2026-11-01 00:00:00', NULL), ('2026-11-01 00:00:00', 'weird'),
          ('2026-11-01 00:00:00', 'login_failure'), ('2026-11-01 00:00:00', NULL)`);
      const other = new QueryEngine(tables.options({ table: 'loose' }));
      const request = { page: 1, limit: 5, cursor: null, count: 'some', timeLimit: 9_000 } as const;
      const found = other.page({
        ...request,
        filter: { ...EVERYTHING, outcome: 'unknown', source: 'postern' },
      });
      other.close();
      expect(found.entries.map(({ id }) => id)).toEqual(['postern:4', 'postern:2', 'postern:1']);
      expect(found.total).toBe(3);
    },
  );

  it('the error names the missing table or column', () => {
    const other = new QueryEngine(tables.options({ table: 'audit_lgo' }));
    const request = { page: 1, limit: 5, cursor: null, count: 'some', timeLimit: 9_000 } as const;
    expect(() => other.page({ ...request, filter: EVERYTHING })).toThrow(/no table audit_lgo.*audit_log/);
    other.close();
  });
});

describe('queries while Postern writes', () => {
  it('new rows are on no later page, and deleted rows shift nothing', () => {
    tables.insert(manyRows(200));
    const first = page({ source: 'postern' }, { limit: 20 });
    tables.insert(manyRows(50));
    tables.postern.exec('DELETE FROM audit_log WHERE id IN (180, 181, 175)');
    const second = page({ source: 'postern' }, { limit: 20, cursor: first.next });
    expect(first.entries.at(-1)?.id).toBe('postern:181');
    expect(second.entries[0]?.id).toBe('postern:179');
    expect(second.entries).toHaveLength(20);
    expect(second.entries.map(({ id }) => id)).not.toContain('postern:175');
  });

  it('a paused export does not block checkpoints of the WAL', () => {
    tables.insert(manyRows(20_000));
    const chunks = engine.export(EVERYTHING, 'ndjson');
    chunks.next();
    const other = new Database(tables.database, { timeout: 0 });
    other.pragma('wal_autocheckpoint = 100');
    for (let round = 0; round < 40; round++) {
      other.exec(`UPDATE audit_log SET server = 'x${round}' WHERE id > 19500`);
    }
    expect(other.pragma('wal_checkpoint(TRUNCATE)')).toMatchObject([{ busy: 0 }]);
    expect(statSync(`${tables.database}-wal`).size).toBe(0);
    other.close();
    let rows = 0;
    for (const chunk of chunks) rows += chunk.rows;
    expect(rows).toBeGreaterThan(10_000);
  });

  it('a transferred copy of an export chunk leaves the buffer intact', () => {
    tables.insert(manyRows(20_000));
    const buffers = new Set<ArrayBufferLike>();
    for (const { bytes } of engine.export(EVERYTHING, 'ndjson')) {
      const copy = bytes.slice(); // a Buffer's would be none
      expect(copy.buffer).not.toBe(bytes.buffer);
      structuredClone(copy, { transfer: [copy.buffer as ArrayBuffer] }); // as worker.ts sends it
      buffers.add(bytes.buffer);
    }
    expect(buffers.size).toBeLessThanOrEqual(2);
  });

  it('a page as text has the same contents', () => {
    tables.insert([
      ...manyRows(300),
      { created_at: 'x', action: 'update', details: '{"n":12345678901234567890}' },
    ]);
    for (const input of [{}, { resource_type: 'user' }, { source: 'auditd' }, { user: 'nobody' }]) {
      const filter = parseFilter(input, Date.now());
      const request = { filter, page: 1, limit: 20, cursor: null, count: 'some', timeLimit: 60_000 } as const;
      const { bytes, next } = engine.text(request, 'json');
      const result = engine.page(request);
      expect(JSON.parse(Buffer.from(bytes).toString())).toEqual(result);
      expect(next).toBe(result.next);
    }
    const request = {
      filter: EVERYTHING,
      page: 1,
      limit: 1,
      cursor: null,
      count: 'none',
      timeLimit: 60_000,
    } as const;
    expect(Buffer.from(engine.text(request, 'json').bytes).toString()).toContain('12345678901234567890');
  });

  it('the size of a page is limited', () => {
    const details = JSON.stringify({ text: 'x'.repeat(1_000_000) });
    tables.insert(Array.from({ length: 80 }, () => ({ created_at: seconds(0), action: 'update', details })));
    expect(() => page({}, { limit: 80 })).toThrow(/^limit: the entries of this page are larger than 64 MiB/);
    expect(page({}, { limit: 50 }).entries).toHaveLength(50);
  });

  it('a count uses the current indexes', () => {
    tables.insert(manyRows(12_000));
    expect(page({}).total).toBe(10_000);
    tables.postern.exec('DELETE FROM audit_log WHERE id > 9000');
    expect(page({})).toMatchObject({ total: 9_000, total_exact: true });
    const indexes = tables.postern
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'audit_log' AND sql IS NOT NULL",
      )
      .pluck()
      .all();
    for (const name of indexes) tables.postern.exec(`DROP INDEX "${String(name)}"`);
    expect(page({})).toMatchObject({ total: 9_000, total_exact: true });
    tables.postern.exec('CREATE INDEX some ON audit_log (action) WHERE id < 100');
    expect(page({})).toMatchObject({ total: 9_000, total_exact: true });
  });

  it('a query fails at its time limit', () => {
    tables.insert(manyRows(3_000));
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 45; // more than a step may take
      return now;
    });
    expect(() => page({ q: 'zz' }, { timeLimit: 100 })).toThrow(/exceeded its time limit/);
    clock.mockRestore();
  });
});

describe('lists of addresses behind trusted proxies', () => {
  const rows: TestRow[] = [
    { ip_address: '203.0.113.7, 172.18.0.1' },
    { ip_address: '198.51.100.1, 203.0.113.7, 172.18.0.1' },
    { ip_address: '203.0.113.7' },
    { ip_address: '203.0.113.7, 198.51.100.1' },
    { ip_address: '203.0.113.7, unknown, 172.18.0.1' },
    { ip_address: Buffer.from('203.0.113.7,172.18.0.1') },
  ];

  it.each([true, false])(
    'lists of addresses are found by the client address, with an index: %s',
    (indexes) => {
      const own = new Tables({ indexes });
      own.insert(rows);
      const trusting = new QueryEngine(own.options({ trusted_proxies: ['172.16.0.0/12'] }));
      const plain = new QueryEngine(own.options());
      const found = (of: QueryEngine, ip: string) => {
        const filter = parseFilter({ ip, source: 'postern' }, 0);
        const request = {
          filter,
          page: 1,
          limit: 50,
          cursor: null,
          count: 'all',
          timeLimit: 60_000,
        } as const;
        const { entries, total } = of.page(request);
        expect(total).toBe(entries.length);
        return entries.map(({ id, ip_address }) => `${id} ${ip_address}`);
      };
      const mine = ['postern:6', 'postern:3', 'postern:2', 'postern:1'].map((id) => `${id} 203.0.113.7`);
      expect(found(trusting, '203.0.113.7')).toEqual(mine);
      expect(found(trusting, '203.0.113.0/24')).toEqual(mine);
      expect(found(trusting, '198.51.100.1')).toEqual(['postern:4 198.51.100.1']);
      expect(found(plain, '203.0.113.7')).toEqual(['postern:3 203.0.113.7']);
      trusting.close();
      plain.close();
      own.remove();
    },
  );
});
