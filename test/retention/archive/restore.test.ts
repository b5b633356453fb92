import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import Database from '../../../src/load-sqlite.js';
import { listArchives } from '../../../src/retention/archive/list.js';
import { restoreArchives, restoreInSteps } from '../../../src/retention/archive/restore.js';
import { verifyArchives } from '../../../src/retention/archive/verify.js';
import { quoteIdentifier } from '../../../src/source/table-schema.js';
import { ArchiveRig } from './table.js';

let rigs: ArchiveRig[] = [];
afterEach(() => {
  for (const rig of rigs) rig.remove();
  rigs = [];
});

function make(sql?: string): ArchiveRig {
  const rig = new ArchiveRig(sql);
  rigs.push(rig);
  return rig;
}

function restore(rig: ArchiveRig, database: string, table: string | null = null) {
  const archives = listArchives(rig.archives);
  return restoreArchives({ directory: rig.archives, archives, database, table });
}

/** All values of a table with their types, as reported by SQLite. */
function dump(db: Database, table = 'audit_log'): unknown[] {
  const names = db.prepare('SELECT name FROM pragma_table_info(?)').pluck().all(table) as string[];
  const parts = names
    .map((name) => quoteIdentifier(name))
    .map((name) => `typeof(${name}) || ':' || hex(CAST(${name} AS BLOB))`);
  return db
    .prepare(`SELECT ${parts.join(', ')} FROM "${table}" ORDER BY id`)
    .raw()
    .all();
}

/** Columns of every affinity, an unmapped one, and names that are special in JavaScript. */
const ODD = `CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, created_at, user_id INTEGER, user_name TEXT,
  user_email VARCHAR(10), action TEXT NOT NULL, resource_id NUMERIC, details BLOB, "__proto__", "7" REAL, "a ""b""" TEXT)`;
const NAMES = [
  'created_at',
  'user_id',
  'user_name',
  'user_email',
  'resource_id',
  'details',
  '__proto__',
  '7',
  'a ""b""',
];

const text = fc.oneof(
  fc.string(),
  fc.constantFrom('\u0000', 'a\u0000b', '\uFFFD', '\u2028', '{"a":1}', '1.0', '9007199254740993'),
);
const value: fc.Arbitrary<unknown> = fc.oneof(
  fc.constant(null),
  text,
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, -1n, 2n ** 53n, 2n ** 53n - 1n, -(2n ** 53n)),
  fc.double({ noNaN: true }),
  fc.constantFrom(-0, 1, 1e300, Number.POSITIVE_INFINITY, 5e-324),
  fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
);
/** Bytes that become TEXT without being UTF-8. */
const bytes = fc.uint8Array({ maxLength: 6 }).map((some) => ({ text: Buffer.from(some) }));

describe('archive restore', () => {
  it('archive restore returns each row unchanged, whatever its content, with its types', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(...NAMES.map(() => fc.oneof({ weight: 6, arbitrary: value }, bytes))), {
          minLength: 1,
          maxLength: 12,
        }),
        async (rows) => {
          const rig = new ArchiveRig(ODD);
          try {
            for (const row of rows) {
              const marks = row.map((one) => (isBytes(one) ? 'CAST(? AS TEXT)' : '?'));
              rig.db
                .prepare(
                  `INSERT INTO audit_log (action, ${NAMES.map((name) => `"${name}"`).join(', ')}) VALUES ('x', ${marks.join(', ')})`,
                )
                .run(row.map((one) => (isBytes(one) ? one.text : one)));
            }
            await rig.archive();
            expect(verifyArchives(rig.archives, { key: null, known: [] }).broken).toBeNull();
            const database = join(rig.directory, 'restored.db');
            expect(restore(rig, database)).toEqual({ restored: rows.length, skipped: 0 });
            const restored = new Database(database);
            expect(dump(restored)).toEqual(dump(rig.db));
            restored.close();
          } finally {
            rig.remove();
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('archive restore adds rows to the remaining ones, and changes nothing a second time', async () => {
    const rig = make();
    for (const month of ['08', '09', '10']) rig.insert(`2026-${month}-01 00:00:00`, month);
    const before = dump(rig.db);
    await rig.archive();
    rig.db.exec('DELETE FROM audit_log WHERE id < 3');
    expect(restore(rig, rig.database)).toEqual({ restored: 2, skipped: 1 });
    expect(dump(rig.db)).toEqual(before);
    expect(restore(rig, rig.database)).toEqual({ restored: 0, skipped: 3 });
    expect(restore(rig, rig.database, 'old')).toEqual({ restored: 3, skipped: 0 });
    expect(dump(rig.db, 'old')).toEqual(before);
  });

  it('archive restore creates one table from archives before and after a column was added', async () => {
    const rig = make();
    rig.insert('2026-08-01 00:00:00');
    await rig.archive({}, true);
    rig.db.exec('ALTER TABLE audit_log ADD COLUMN user_agent TEXT');
    rig.insert('2026-09-01 00:00:00');
    rig.db.exec("UPDATE audit_log SET user_agent = 'curl'");
    await rig.archive({}, true);
    const database = join(rig.directory, 'new.db');
    expect(restore(rig, database)).toEqual({ restored: 2, skipped: 0 });
    expect(restore(rig, database)).toEqual({ restored: 0, skipped: 2 });
    const db = new Database(database);
    expect(db.prepare('SELECT id, user_agent FROM audit_log').raw().all()).toEqual([
      [1, null],
      [2, 'curl'],
    ]);
    db.close();
    expect(restore(rig, rig.database)).toEqual({ restored: 2, skipped: 0 });
  });

  it('archive restore handles a STRICT table with columns of any type, and one with changed types', async () => {
    const rig = make(
      'CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, action TEXT, details ANY, n TEXT) STRICT',
    );
    const add = (details: unknown) =>
      rig.db
        .prepare(
          "INSERT INTO audit_log (created_at, action, details, n) VALUES ('2026-08-01', 'x', ?, '007')",
        )
        .run(details);
    for (const details of ['1.0', '0x10', 5n, 1.5, Buffer.from([1]), null]) add(details);
    const before = dump(rig.db);
    await rig.archive({}, true);
    const database = join(rig.directory, 'new.db');
    expect(restore(rig, database)).toEqual({ restored: 6, skipped: 0 });
    const db = new Database(database);
    expect(dump(db)).toEqual(before);
    db.close();
    rig.db.exec(
      'DROP TABLE audit_log; CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, action TEXT, details, n INTEGER)',
    );
    rig.db.exec("INSERT INTO audit_log VALUES (9, '2026-09-01', 'x', '1.0', 7)");
    await rig.archive();
    expect(restore(rig, join(rig.directory, 'both.db'))).toEqual({ restored: 7, skipped: 0 });
  });

  it('archive restore restores rows of deleted users', async () => {
    const rig = make(`CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (1);
      CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, action TEXT, user_id INTEGER REFERENCES users (id))`);
    rig.db.exec("INSERT INTO audit_log VALUES (1, '2026-08-01', 'x', 1)");
    await rig.archive({}, true);
    rig.db.exec('DELETE FROM users');
    expect(restore(rig, rig.database)).toEqual({ restored: 1, skipped: 0 });
  });

  it("archive restore names the next step if it can't write", async () => {
    const rig = make();
    rig.insert('2026-08-01 00:00:00');
    await rig.archive();
    for (const [file, table] of [
      [join(rig.archives, listArchives(rig.archives)[0]?.file ?? ''), null],
      [rig.database, 'sqlite_x'],
      [join(rig.directory, 'none', 'new.db'), null],
    ] as const)
      expect(() => restore(rig, file, table)).toThrow(
        /nothing was restored: .*\. Name another table.* or file/,
      );
  });

  it('archive restore leaves nothing behind if it is stopped midway', async () => {
    const rig = make();
    for (const month of ['08', '09', '10']) rig.insert(`2026-${month}-01 00:00:00`, month);
    await rig.archive({}, true);
    const [archives, before] = [listArchives(rig.archives), readdirSync(rig.directory)];
    for (const name of ['new.db', 'posternproxy.db']) {
      const database = join(rig.directory, name);
      const steps = restoreInSteps({ directory: rig.archives, archives, database, table: 'old' });
      for (let step = 0; step < 5; step++) expect(steps.next().done).toBe(false); // three are verified, one is restored
      if (name === 'new.db') expect(readdirSync(rig.directory).length).toBeGreaterThan(before.length);
      steps.return({ restored: 0, skipped: 0 });
      expect(readdirSync(rig.directory)).toEqual(before);
    }
    rig.insert('2026-11-01 00:00:00'); // nothing is locked
    expect(rig.db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'old'").pluck().get()).toBe(0);
  });

  it('archive restore restores nothing if a row differs, and names the row', async () => {
    const rig = make();
    for (const month of ['08', '09', '10']) rig.insert(`2026-${month}-01 00:00:00`, month);
    await rig.archive();
    rig.db.exec("DELETE FROM audit_log WHERE id < 3; UPDATE audit_log SET details = 'edited' WHERE id = 3");
    expect(() => restore(rig, rig.database)).toThrow(
      /Row 3 of audit_log is not the one of 000003.*nothing was restored/,
    );
    expect(rig.all()).toHaveLength(1);
  });

  it('archive restore rejects a table that lacks a column, and leaves no partial database behind', async () => {
    const rig = make();
    rig.insert('2026-08-01 00:00:00');
    await rig.archive();
    rig.db.exec('CREATE TABLE other (id INTEGER PRIMARY KEY)');
    expect(() => restore(rig, rig.database, 'other')).toThrow('has no column created_at');
    rig.db.exec("UPDATE audit_log SET action = 'y'");
    await rig.archive();
    expect(() => restore(rig, join(rig.directory, 'new.db'))).toThrow('Row 1');
    expect(readdirSync(rig.directory).sort()).toEqual(['archive', 'posternproxy.db']);
  });
});

function isBytes(value: unknown): value is { text: Buffer } {
  return typeof value === 'object' && value !== null && 'text' in value;
}
