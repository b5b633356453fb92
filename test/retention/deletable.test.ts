import { afterEach, describe, expect, it } from 'vitest';
import { deleteTriggers } from '../../src/retention/deletable.js';
import { TableCache } from '../../src/source/table-schema.js';
import { DAY, NOW, RetentionRig, type Row, sqlTime } from './retention-fixture.js';

let rig: RetentionRig;
afterEach(() => rig.close());

const old = (count: number): Row[] =>
  Array.from({ length: count }, (_, n) => ({ created: sqlTime(NOW - 400 * DAY + n * 1_000) }));
const fresh: Row = { created: sqlTime(NOW) };

function rigOf(sql: string, count = 20): RetentionRig {
  rig = new RetentionRig();
  rig.db.exec(sql);
  rig.insert([...old(count), fresh]);
  return rig;
}

const run = () => rig.run('keep: { default: 1y }');

describe('a table with DELETE triggers', () => {
  it.each<[string, string, RegExp]>([
    [
      'keeps all rows without an error',
      'CREATE TRIGGER keeper BEFORE DELETE ON audit_log BEGIN SELECT RAISE(IGNORE); END',
      /SQLite deletes none of its rows\. Change or drop its trigger keeper/,
    ],
    [
      'forbids deletions',
      "CREATE TRIGGER keeper BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'append only'); END",
      /deletes none of its rows \(append only\)\. Change or drop its trigger keeper/,
    ],
    [
      'rolls the whole transaction back',
      "CREATE TRIGGER keeper BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ROLLBACK, 'append only'); END",
      /\(append only\)/,
    ],
    [
      'puts rows back',
      `CREATE TRIGGER keeper AFTER DELETE ON audit_log BEGIN
         INSERT INTO audit_log (id, created_at, action, resource_type) VALUES (old.id, old.created_at, old.action, old.resource_type); END`,
      /deletes none of its rows\. Change or drop its trigger keeper/,
    ],
    [
      'calls a function that only Postern has',
      'CREATE TRIGGER keeper AFTER DELETE ON audit_log BEGIN SELECT poke(old.id); END',
      /no such function: poke/,
    ],
  ])('a table with a trigger that %s: the run fails, and archives nothing', async (_, sql, words) => {
    rigOf(sql);
    for (const night of [1, 2]) {
      await expect(run(), String(night)).rejects.toThrow(words);
      expect(rig.archived()).toEqual([]);
      expect(rig.ids()).toHaveLength(21);
    }
  });

  it('a trigger that keeps some rows: they are archived once, the others are deleted, and both are counted', async () => {
    rigOf(
      'CREATE TRIGGER keeper BEFORE DELETE ON audit_log WHEN old.id > 15 BEGIN SELECT RAISE(IGNORE); END',
    );
    const { targets } = await run();
    expect(targets[0]?.purged).toMatchObject({ deleted: 15, kept: 5, young: 0 });
    expect(rig.ids()).toEqual([16, 17, 18, 19, 20, 21]);
    // The following nights delete no more rows.
    for (const _ of [1, 2]) await expect(run()).rejects.toThrow(/deleted none of 5 rows .* a trigger/);
    expect(rig.archived()).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    rig.db.exec('DROP TRIGGER keeper');
    expect((await run()).resumed).toMatchObject({ deleted: 5, kept: 0 });
    expect(rig.ids()).toEqual([21]);
    expect(rig.archived()).toHaveLength(20);
  });

  it('a trigger created between archive and deletion: the run fails, and the next run archives nothing again', async () => {
    rigOf('SELECT 1');
    const purger = (usual: ReturnType<RetentionRig['purger']>) => ({
      ...usual,
      probe: async () => {
        await usual.probe([]);
        rig.db.exec('CREATE TRIGGER keeper BEFORE DELETE ON audit_log BEGIN SELECT RAISE(IGNORE); END');
      },
    });
    await expect(rig.run('keep: { default: 1y }', { purger })).rejects.toThrow(/deleted none of 20 rows/);
    await expect(run()).rejects.toThrow(/deleted none of 20 rows/);
    expect(rig.archived()).toHaveLength(20);
    expect(rig.ids()).toHaveLength(21);
  });

  it('a trigger that maintains an index runs, and rows are deleted', async () => {
    rigOf(`CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT);
      CREATE TRIGGER added AFTER INSERT ON audit_log BEGIN INSERT INTO words VALUES (new.id, new.action); END;
      CREATE TRIGGER gone AFTER DELETE ON audit_log BEGIN DELETE FROM words WHERE id = old.id; END`);
    expect((await run()).targets[0]?.purged).toMatchObject({ deleted: 20, kept: 0 });
    expect(rig.db.prepare('SELECT id FROM words').pluck().all()).toEqual([21]);
  });

  it('the triggers of a table are listed by name', () => {
    rigOf(`CREATE TABLE other (id INTEGER);
      CREATE TRIGGER mine BEFORE DELETE ON Audit_Log BEGIN SELECT 1; END;
      CREATE TRIGGER theirs BEFORE DELETE ON other BEGIN SELECT 1; END;
      CREATE TRIGGER added AFTER INSERT ON audit_log BEGIN SELECT 1; END`);
    const table = new TableCache(rig.config('max_rows: null').source).get(rig.db);
    if ('state' in table) throw new Error(table.message);
    expect(deleteTriggers(rig.db, table)).toEqual(['mine']);
  });
});

describe('a table referenced by foreign keys', () => {
  it.each<[string, string]>([
    [
      'CASCADE',
      'CREATE TABLE note (id INTEGER PRIMARY KEY, entry REFERENCES Audit_Log (id) ON DELETE CASCADE)',
    ],
    ['SET NULL', 'CREATE TABLE note (id INTEGER PRIMARY KEY, entry REFERENCES audit_log ON DELETE SET NULL)'],
    ['no action', 'CREATE TABLE note (id INTEGER PRIMARY KEY, entry REFERENCES audit_log)'],
  ])(
    'a table with foreign keys (%s) and the other table lose no row; nothing is archived',
    async (_, sql) => {
      rigOf(sql);
      rig.db.exec('INSERT INTO note (entry) SELECT id FROM audit_log');
      const refused = /Foreign keys of the table note point at audit_log/;
      await expect(run()).rejects.toThrow(refused);
      await expect(rig.purger('keep: { default: 1y }').probe([])).rejects.toThrow(refused);
      expect(rig.ids()).toHaveLength(21);
      expect(rig.db.prepare('SELECT count(entry) FROM note').pluck().get()).toBe(21);
      expect(rig.archived()).toEqual([]);
    },
  );

  it('a table with a foreign key to itself is rejected, too', async () => {
    rig = new RetentionRig();
    rig.db.exec('ALTER TABLE audit_log ADD COLUMN parent REFERENCES audit_log (id) ON DELETE CASCADE');
    rig.insert([...old(3), fresh]);
    rig.db.exec('UPDATE audit_log SET parent = 1 WHERE id = 4');
    await expect(run()).rejects.toThrow(/Foreign keys of the table audit_log point at audit_log/);
    expect(rig.ids()).toHaveLength(4);
  });

  it('a foreign key to a table with a similar name is ignored', async () => {
    rigOf(
      'CREATE TABLE audit_log_old (id INTEGER PRIMARY KEY); CREATE TABLE note (entry REFERENCES audit_log_old)',
    );
    expect((await run()).targets[0]?.purged.deleted).toBe(20);
  });
});
