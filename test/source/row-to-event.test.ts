import { createHash } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { formatEcs } from '../../src/formats/ecs.js';
import Database from '../../src/load-sqlite.js';
import { COLUMN_KEYS } from '../../src/source/table-schema.js';
import { openSource, reading, request, SOURCE_ID, START, temporaryDirectory } from './postern-fixture.js';

/** A table without types, so that each value stays what it is. */
const UNTYPED = `CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, ${COLUMN_KEYS.slice(1).join(', ')})`;

type Value = null | bigint | number | string | Buffer | { sql: string };
type Columns = Partial<Record<(typeof COLUMN_KEYS)[number], Value>>;

/** The events of rows that are written as given. */
function eventsOf(rows: readonly Columns[], { encoding = 'UTF-8' } = {}): readonly AuditEvent[] {
  const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
  const db = new Database(database);
  db.pragma(`encoding = '${encoding}'`);
  db.exec(UNTYPED);
  db.transaction(() => {
    for (const row of rows) insert(db, row);
  })();
  db.close();
  const { source } = openSource(database, {
    classify: createClassifier({}),
    redact: createRedactor({ keys: [], mode: 'mask', hmacKey: Buffer.alloc(32) }),
  });
  return reading(source.read(request(START))).events;
}

function insert(db: Database, row: Columns): void {
  const entries = Object.entries(row);
  const places = entries.map(([, value]) =>
    value !== null && typeof value === 'object' && 'sql' in value ? value.sql : '?',
  );
  const values = entries.flatMap(([, value]) =>
    value !== null && typeof value === 'object' && 'sql' in value ? [] : [value],
  );
  if (entries.length === 0) db.exec('INSERT INTO audit_log DEFAULT VALUES');
  else db.prepare(`INSERT INTO audit_log (${entries.map(([key]) => key)}) VALUES (${places})`).run(...values);
}

const one = (row: Columns, options?: { encoding?: string }): AuditEvent => {
  const [event] = eventsOf([row], options);
  if (event === undefined) throw new Error('no event');
  return event;
};

describe('the event of a row', () => {
  test('a failed login becomes an event', () => {
    const event = one({
      created_at: '2026-11-22 20:21:00',
      user_id: 7n,
      user_name: 'Ann',
      user_email: 'ann@example.net',
      action: 'login_failure',
      resource_type: 'auth',
      resource_id: '7',
      details: '{"password":"hunter2","try":3}',
      ip_address: '::ffff:203.0.113.7',
    });
    expect(event).toMatchObject({
      source: 'postern',
      timeline: 1,
      sequence: 1,
      time: Date.UTC(2026, 10, 22, 20, 21),
      rawTime: null,
      ingested: 1_763_842_860_000,
      action: 'auth.login_failure',
      rawAction: 'login_failure',
      user: { id: '7', name: 'Ann', email: 'ann@example.net' },
      resource: { type: 'auth', id: '7' },
      address: '203.0.113.7',
      rawAddress: '::ffff:203.0.113.7',
      server: 'proxy-1',
      local: true,
      revisionOf: null,
    });
    expect(JSON.parse(event.details ?? '')).toMatchObject({ try: 3 });
    expect(event.details).not.toContain('hunter2');
  });

  test.each<[Value, number | null, string | null]>([
    ['2026-11-22 20:21:00', Date.UTC(2026, 10, 22, 20, 21), null],
    ['2026-11-22T20:21:00.123+02:00', Date.UTC(2026, 10, 22, 18, 21, 0, 123), null],
    [1_795_378_860n, 1_795_378_860_000, null],
    [1_795_378_860_123n, 1_795_378_860_123, null],
    [1_795_378_860.5, 1_795_378_860_500, null],
    ['1795378860', 1_795_378_860_000, null],
    [Buffer.from('2026-11-22 20:21:00'), Date.UTC(2026, 10, 22, 20, 21), null],
    ['yesterday', null, 'yesterday'],
    [9_223_372_036_854_775_807n, null, '9223372036854775807'],
    [Buffer.from([0xff]), null, '0xff'],
    [null, null, null],
  ])('created_at %o', (created_at, time, rawTime) => {
    expect(one({ created_at })).toMatchObject({ time, rawTime });
  });

  test.each<[Value, string | null, string | null]>([
    ['203.0.113.7', '203.0.113.7', null],
    ['[2001:DB8::1]:443', '2001:db8::1', '[2001:DB8::1]:443'],
    ['203.0.113.7, 10.0.0.1', null, '203.0.113.7, 10.0.0.1'],
    ['', null, null],
    [null, null, null],
    [3_405_803_783n, null, '3405803783'],
    [Buffer.from([203, 0, 113, 7]), null, '0xcb007107'],
    [Buffer.from('203.0.113.7'), '203.0.113.7', '203.0.113.7'],
  ])('ip_address %o', (ip_address, address, rawAddress) => {
    const raw = Buffer.isBuffer(ip_address) && address !== null ? null : rawAddress;
    expect(one({ ip_address })).toMatchObject({ address, rawAddress: raw });
  });

  test.each<[Value, string, boolean]>([
    [null, 'proxy-1', true],
    ['', 'proxy-1', true],
    ['proxy-1', 'proxy-1', true],
    ['proxy-2', 'proxy-2', false],
  ])('server %o', (server, name, local) => {
    expect(one({ server })).toMatchObject({ server: name, local });
  });

  test('a row with only NULL values becomes an event', () => {
    expect(one({})).toMatchObject({
      sequence: 1,
      time: null,
      rawAction: '',
      user: { id: null, name: null, email: null },
      resource: { type: null, id: null },
      address: null,
      details: null,
    });
  });

  test('numbers beyond 2^53 keep every digit', () => {
    const big = 9_007_199_254_740_993n;
    const event = one({ user_id: big, resource_id: -9_223_372_036_854_775_808n, action: big });
    expect(event).toMatchObject({ user: { id: String(big) }, rawAction: String(big) });
    expect(event.resource.id).toBe('-9223372036854775808');
  });

  test('NUL, U+FEFF, half surrogates and bytes that are not UTF-8 are read', () => {
    const [nul, mark, surrogate, bytes] = eventsOf([
      { user_name: 'a\0b' },
      { user_name: '\ufeffa' },
      { user_name: { sql: "CAST(x'eda080' AS TEXT)" } },
      { user_name: { sql: "CAST(x'61ff62' AS TEXT)" } },
    ]);
    expect(nul?.user.name).toBe('a\0b');
    expect(mark?.user.name).toBe('\ufeffa');
    expect(surrogate?.user.name).toMatch(/^\ufffd+$/);
    expect(bytes?.user.name).toBe('a\ufffdb');
  });

  test("rows below an id that JavaScript can't represent are read, then it is reported", () => {
    const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
    const db = new Database(database);
    db.exec(`${UNTYPED}; INSERT INTO audit_log (id) VALUES (1), (9007199254740991), (9007199254740992)`);
    db.close();
    const { source } = openSource(database);
    const look = reading(source.read(request(START)));
    expect(look).toMatchObject({ upTo: Number.MAX_SAFE_INTEGER, more: true });
    expect(look.events).toHaveLength(2);
    const mark = { timeline: 1, id: look.upTo, fingerprint: look.events[1]?.id.slice(0, 16) ?? null };
    expect(source.read(request(mark))).toMatchObject({
      state: 'failed',
      message: /id 9007199254740992, above 9007199254740991/,
    });
  });

  test('a page of 1 MB rows ends at its limit in bytes, with at least one row', () => {
    const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
    const db = new Database(database);
    db.exec(UNTYPED);
    for (let at = 0; at < 12; at++)
      insert(db, { action: 'update', details: JSON.stringify({ text: 'x'.repeat(2 ** 20) }) });
    db.close();
    const { source } = openSource(database);
    const look = reading(source.read(request(START)));
    expect(look).toMatchObject({ upTo: 4, more: true, maxId: 12 });
    expect(look.events[0]?.details).toHaveLength(2 ** 20 + 11);
    expect(reading(source.read(request(START, { after: 4, maxBytes: 1 })))).toMatchObject({
      upTo: 5,
      more: true,
    });
    expect(reading(source.read(request(START, { after: 4, maxRows: 1 })))).toMatchObject({
      upTo: 5,
      more: true,
    });
  });

  test('details are masked once, on first use', () => {
    const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
    const db = new Database(database);
    db.exec(UNTYPED);
    insert(db, { details: '{}' });
    db.close();
    let asked = 0;
    const { source } = openSource(database, { redact: (details) => `${details}${++asked}` });
    const [event] = reading(source.read(request(START))).events;
    expect(asked).toBe(0);
    expect([event?.details, event?.details]).toEqual(['{}1', '{}1']);
  });

  test('a failing redaction or classification affects nothing else of the row', () => {
    const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
    const db = new Database(database);
    db.exec(UNTYPED);
    insert(db, { details: '{}', action: 'login', user_name: 'Ann' });
    db.close();
    const raise = () => {
      throw new Error('defect');
    };
    const known = createClassifier({});
    const { source } = openSource(database, {
      redact: raise,
      classify: (action, type) => (action === 'login' ? raise() : known(action, type)),
    });
    const [event] = reading(source.read(request(START))).events;
    expect(event).toMatchObject({ rawAction: 'login', user: { name: 'Ann' } });
    expect(event).toMatchObject({ incomplete: 'details could not be masked' });
    expect(event?.details).toBe('{"left_out":"details could not be masked"}');
    expect(event?.type.known).toBe(false);
  });
});

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('1', ';2t1:x', ';3t0:', 'a\0b', '\ufffd', '\u2028', '"}\n', ' '),
);
const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(null) },
  { weight: 6, arbitrary: text },
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.constantFrom<Value>(1n, 1, 1.5, 0, -0),
  fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  // Text of any bytes, UTF-8 or not.
  fc
    .uint8Array({ maxLength: 6 })
    .map((bytes) => ({ sql: `CAST(x'${Buffer.from(bytes).toString('hex')}' AS TEXT)` })),
);
const row: fc.Arbitrary<Columns> = fc.record(
  Object.fromEntries(COLUMN_KEYS.slice(1).map((key) => [key, value])) as Record<string, fc.Arbitrary<Value>>,
  { requiredKeys: [] },
);

describe('rows with any content', () => {
  test('any row becomes an event and a line, and different rows get different ids', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 60 }), (rows) => {
        // The same row id for all: only the columns tell them apart.
        const db = new Database(':memory:');
        db.exec(UNTYPED);
        const ids = new Map<string, string>();
        for (const columns of rows) {
          db.exec('DELETE FROM audit_log');
          insert(db, { id: 1n, ...columns });
          const contents = db
            .prepare(
              `SELECT ${COLUMN_KEYS.map((key) => `typeof(${key}) || '|' || hex(${key})`).join(" || ';' || ")} FROM audit_log`,
            )
            .pluck()
            .get() as string;
          const file = join(
            temporaryDirectory((work) => cleanups.push(work)),
            'posternproxy.db',
          );
          db.exec(`VACUUM INTO '${file}'`);
          const event = readOne(file);
          for (const [seen, id] of ids) expect(id === event.id).toBe(seen === contents);
          ids.set(contents, event.id);
          expect(formatEcs(event)).not.toContain('\n');
          expect(() => JSON.parse(formatEcs(event))).not.toThrow();
        }
        db.close();
        for (const work of cleanups.splice(0)) work();
      }),
      { numRuns: 12 },
    );
  });

  test('an id follows from source id, row id and columns, as it did in the first release', () => {
    const encoded = `${SOURCE_ID}:1;1t19:2026-11-22 20:21:00;2i7;5t5:login;8t2:{}`;
    const id = createHash('sha256').update(encoded).digest('hex').slice(0, 32);
    expect(one({ created_at: '2026-11-22 20:21:00', user_id: 7n, action: 'login', details: '{}' }).id).toBe(
      id,
    );
  });

  test('equal-looking text with different bytes has another id; a stored U+FFFD is ordinary text', () => {
    const [a, b, c, d] = [
      one({ user_name: { sql: "CAST(x'ff' AS TEXT)" } }),
      one({ user_name: { sql: "CAST(x'fe' AS TEXT)" } }),
      one({ user_name: '\ufffd' }),
      one({ user_name: Buffer.from('\ufffd') }),
    ];
    expect([a, b, c].map((event) => event.user.name)).toEqual(['\ufffd', '\ufffd', '\ufffd']);
    expect(new Set([a, b, c, d].map((event) => event.id)).size).toBe(4);
  });

  test('a database in UTF-16 gives the same ids', () => {
    const columns = { user_name: 'Änn 😀', action: 'login' };
    expect(one(columns, { encoding: 'UTF-16le' }).id).toBe(one(columns).id);
  });
});

const cleanups: Array<() => void> = [];

function readOne(database: string): AuditEvent {
  const { source } = openSource(database, {
    classify: createClassifier({}),
    redact: createRedactor({ keys: [], mode: 'mask', hmacKey: Buffer.alloc(32) }),
  });
  const [event] = reading(source.read(request(START))).events;
  if (event === undefined) throw new Error('no event');
  return event;
}
