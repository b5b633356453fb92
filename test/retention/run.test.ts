import { existsSync, readdirSync, renameSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { contentsOf } from '../../src/retention/archive/archive-files.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { readManifest } from '../../src/retention/archive/manifest-chain.js';
import { TableRows } from '../../src/retention/archive/table-rows.js';
import type { Purger } from '../../src/retention/purge/client.js';
import type { Hold } from '../../src/retention/sink-holds.js';
import { DAY, NOW, RetentionRig, type Row, sqlTime } from './retention-fixture.js';

let rig: RetentionRig;
afterEach(() => rig.close());

const OLD = NOW - 400 * DAY;
const old = (count: number): Row[] =>
  Array.from({ length: count }, (_, n) => ({ created: sqlTime(OLD + n * 1_000), details: `{"n":${n}}` }));
const fresh: Row = { created: sqlTime(NOW) };

describe('a run', () => {
  it('a run archives old rows by month and removes them from the table', async () => {
    rig = new RetentionRig();
    rig.insert([
      { created: sqlTime(OLD) },
      { created: sqlTime(NOW - 380 * DAY) },
      { created: sqlTime(NOW - 380 * DAY), action: 'login_failed', type: 'auth' },
      { created: sqlTime(NOW - 100 * DAY), action: 'login_failed', type: 'auth' },
      { created: sqlTime(NOW - 100 * DAY) },
      fresh,
    ]);
    const { targets } = await rig.run('keep: { default: 1y, auth: 90d }');
    expect(rig.ids()).toEqual([5, 6]);
    expect(rig.archived()).toEqual([1, 2, 3, 4]);
    expect(targets[0]?.purged).toMatchObject({ deleted: 4, gone: 0, differ: 0, young: 0 });
    expect(targets[0]?.archives.map(({ month, record }) => [month, record.count])).toEqual([
      ['2025-10', 1],
      ['2025-11', 2],
      ['2026-08', 1],
    ]);
  });

  it('a run keeps only some large rows in memory at a time, and archives all of them', async () => {
    rig = new RetentionRig();
    const details = JSON.stringify({ text: 'x'.repeat(2 ** 20) });
    rig.insert([...Array.from({ length: 20 }, () => ({ created: sqlTime(OLD), details })), fresh]);
    const read = vi.spyOn(TableRows.prototype, 'someOf');
    await rig.run('keep: { default: 1y }');
    const most = Math.max(...read.mock.results.map(({ value }) => (value as { bytes: number }).bytes));
    read.mockRestore();
    expect(most).toBeLessThan(10 * 2 ** 20);
    expect(rig.ids()).toEqual([21]);
    expect(rig.archived()).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
  });

  it('a run parses times in every accepted form and removes no row that is too young', async () => {
    const forms: ReadonlyArray<(time: number) => unknown> = [
      sqlTime,
      (time) => new Date(time).toISOString(),
      (time) => `${new Date(time + 5.5 * 3_600_000).toISOString().slice(0, 19)}+05:30`,
      (time) => Math.floor(time / 1_000),
      (time) => time,
      (time) => String(Math.floor(time / 1_000)),
      (time) => Buffer.from(sqlTime(time)),
    ];
    const row = fc.record({ form: fc.nat(forms.length - 1), age: fc.integer({ min: -900, max: 900 }) });
    const unreadable = fc.constantFrom<unknown>(
      '',
      'yesterday',
      '2025-13-01 00:00:00',
      -5,
      'NULL',
      Buffer.from([0xff]),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(row, unreadable), { minLength: 1, maxLength: 40 }), async (made) => {
        rig = new RetentionRig();
        const isRow = (each: unknown): each is { form: number; age: number } =>
          typeof each === 'object' && each !== null && 'age' in each;
        rig.insert(
          made.map((each) => ({
            created: isRow(each) ? forms[each.form]?.(NOW - each.age * DAY) : each,
          })),
        );
        rig.insert([fresh]);
        await rig.run('keep: { default: 1y }');
        const stays = made.flatMap((each, at) => (isRow(each) && each.age > 365 ? [] : [at + 1]));
        expect(rig.ids()).toEqual([...stays, made.length + 1]);
        rig.close();
      }),
      { numRuns: 25 },
    );
    rig = new RetentionRig();
  });

  it.each([
    ['Asia/Kolkata', 5.5],
    ['America/New_York', -5],
    ['UTC', 0],
  ])('a run and the purge read times without a zone as source.time_zone: %s', async (zone, hours) => {
    rig = new RetentionRig();
    rig.timeZone = zone;
    const local = (time: number) => ({ created: sqlTime(time + hours * 3_600_000) });
    const [minute, year] = [60_000, NOW - 365 * DAY];
    rig.insert([local(year - minute), local(year + minute), { created: `${sqlTime(year - minute)}Z` }]);
    rig.insert([{ created: `${sqlTime(year + minute)}Z` }, local(NOW)]);
    await rig.run('keep: { default: 1y }');
    expect(rig.ids()).toEqual([2, 4, 5]);
    const [name = ''] = contentsOf(rig.archive).manifests.values();
    const { manifest } = readManifest(rig.archive, name);
    const at = new Date(year - minute).toISOString();
    expect(manifest.time).toEqual({ first: at, last: at });
    expect(manifest.time_zone).toBe(zone === 'UTC' ? undefined : zone);
  });

  it('a run never removes the newest row, which identifies the history', async () => {
    rig = new RetentionRig();
    rig.insert(old(5));
    rig.insert([{ created: sqlTime(NOW - 1 * DAY) }, { created: 'unreadable' }]);
    rig.clock = NOW + 5_000 * DAY;
    await rig.run('keep: { default: 1d }');
    expect(rig.ids()).toEqual([6, 7]);
  });

  it('a run counts ages from the newest row if the clock is ahead', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), { created: sqlTime(NOW - 300 * DAY) }, { created: sqlTime(NOW - 299 * DAY) }]);
    rig.clock = NOW + 900 * DAY;
    await rig.run('keep: { default: 200d }');
    expect(rig.ids()).toEqual([1, 2, 3, 4, 5]);
  });

  it('a run keeps rows that a sink has not delivered, and names the sink', async () => {
    rig = new RetentionRig();
    rig.insert([...old(10), fresh]);
    const holds: Hold[] = [
      { sink: 'siem', from: 4, since: NOW - DAY, overridden: false },
      { sink: 'gone', from: 2, since: NOW - 99 * DAY, overridden: true },
    ];
    const { targets } = await rig.run('keep: { default: 1y }', { holds, limit: 4 });
    expect(rig.ids()).toEqual([4, 5, 6, 7, 8, 9, 10, 11]);
    expect(targets[0]?.plan).toMatchObject({
      staying: { held: 7 },
      held: [{ sink: 'siem', since: NOW - DAY, rows: 7 }],
      overridden: [{ sink: 'gone', since: NOW - 99 * DAY, rows: 2 }],
    });
  });

  it.each<[string, string, number[]]>([
    ['rows', 'max_rows: 4', [5, 6, 7, 8]],
    [
      'rows, and a category that is kept for ever',
      'max_rows: 4, keep: { default: 5y, user: forever }',
      [1, 6, 7, 8],
    ],
    ['less than there is to keep', 'max_rows: 1, keep: { default: forever, user: forever }', [1, 8]],
  ])('a run limited by the number of %s removes the oldest before their age', async (_, retention, stays) => {
    rig = new RetentionRig();
    rig.insert([{ created: sqlTime(NOW - 9 * DAY), action: 'create', type: 'user' }]);
    rig.insert(Array.from({ length: 7 }, (__, n) => ({ created: sqlTime(NOW - (8 - n) * DAY) })));
    await rig.run(retention);
    expect(rig.ids()).toEqual(stays);
  });

  it('a run limited by size removes the oldest rows until the rest fits', async () => {
    rig = new RetentionRig();
    rig.insert(
      Array.from({ length: 10 }, (_, n) => ({
        created: sqlTime(NOW - (n < 9 ? 2 : 1) * DAY),
        details: 'x'.repeat(10_000),
      })),
    );
    await rig.run('max_size: 50K');
    expect(rig.ids()).toEqual([6, 7, 8, 9, 10]);
  });

  it('a run keeps a row that is changed between archive and deletion', async () => {
    rig = new RetentionRig();
    rig.insert([...old(5), fresh]);
    const meddle = (usual: Purger): Purger => ({
      ...usual,
      purge: (piece) => {
        const change = "UPDATE audit_log SET details = 'changed' WHERE id = 2";
        rig.db.exec(`${change}; DELETE FROM audit_log WHERE id = 4`);
        return usual.purge(piece, []);
      },
    });
    const { targets } = await rig.run('keep: { default: 1y }', { purger: meddle });
    expect(rig.ids()).toEqual([2, 6]);
    expect(targets[0]?.purged).toMatchObject({ deleted: 3, gone: 1, differ: 1 });
    await rig.run('keep: { default: 1y }');
    expect(rig.ids()).toEqual([6]);
    expect(rig.archived()).toEqual([1, 2, 3, 4, 5, 2]); // the old and the current version
  });

  it('a run keeps and counts rows that are too large to archive, even if they grew after archiving', async () => {
    rig = new RetentionRig();
    rig.largest = 1_000;
    const large = 'ü'.repeat(500);
    rig.insert([...old(5), fresh]);
    rig.db.exec(`UPDATE audit_log SET details = '${large}' WHERE id = 2`);
    rig.db.exec('UPDATE audit_log SET action = CAST(zeroblob(17000000) AS TEXT) WHERE id = 3'); // its value is never read
    const meddle = (usual: Purger): Purger => ({
      ...usual,
      purge: (piece) => {
        rig.db.exec(`UPDATE audit_log SET details = '${large}' WHERE id = 5`);
        return usual.purge(piece, []);
      },
    });
    const { targets } = await rig.run('keep: { default: 1y }', { purger: meddle });
    expect(targets[0]?.plan).toMatchObject({ staying: { large: 2, young: 1 }, rows: 6 });
    expect(targets[0]?.purged).toMatchObject({ deleted: 2, gone: 0, differ: 1 });
    expect(rig.archived()).toEqual([1, 4, 5]);
    const second = await rig.run('keep: { default: forever }, max_rows: 1');
    expect(second.targets[0]?.plan).toMatchObject({ staying: { large: 3, young: 1 } });
    rig.largest = undefined;
    await rig.run('keep: { default: 1y }');
    expect(rig.ids()).toEqual([6]);
  });

  it('a run keeps rows that the purge finds too young, and does not archive them again', async () => {
    rig = new RetentionRig();
    rig.insert([...old(5), fresh]);
    const refusing = (usual: Purger): Purger => ({
      ...usual,
      purge: (piece) => {
        rig.clock = NOW - 300 * DAY; // only for the purge; the run has already scanned the table
        return usual.purge(piece, []);
      },
    });
    const { targets } = await rig.run('keep: { default: 1y }', { purger: refusing });
    expect(targets[0]?.purged).toMatchObject({ deleted: 0, young: 5 });
    expect(rig.ids()).toHaveLength(6);
    rig.clock = NOW;
    const { resumed } = await rig.run('keep: { default: 1y }');
    expect(resumed.deleted).toBe(5);
    expect(rig.archived()).toEqual([1, 2, 3, 4, 5]);
  });

  it('a run archives rows that the purge keeps refusing only once, and continues with the others', async () => {
    rig = new RetentionRig();
    rig.insert([...old(5), fresh]);
    // The purge has read a changed configuration that the daemon has not reloaded.
    const other = () => rig.purger('keep: { default: 5y }');
    const first = await rig.run('keep: { default: 1y }', { purger: other });
    expect(first.targets[0]?.purged).toMatchObject({ deleted: 0, young: 5 });
    for (const night of [1, 2]) {
      rig.clock += DAY;
      rig.insert([{ created: sqlTime(NOW - 6 * 365 * DAY) }, { created: sqlTime(rig.clock) }]);
      const { resumed, targets } = await rig.run('keep: { default: 1y }', { purger: other });
      expect(resumed.young).toBe(5);
      expect(targets[0]?.purged).toMatchObject({ deleted: 1, young: 0 });
      expect(rig.ids()).toHaveLength(6 + night);
    }
    expect(rig.archived()).toEqual([1, 2, 3, 4, 5, 7, 9]);
    const { resumed } = await rig.run('keep: { default: 1y }'); // after a reload
    expect(resumed.deleted).toBe(5);
    expect(rig.ids()).toEqual([6, 8, 10]);
    expect(rig.archived()).toEqual([1, 2, 3, 4, 5, 7, 9]);
  });

  it('a run uses generated columns to classify rows, and does not archive them', async () => {
    rig = new RetentionRig();
    rig.db.exec(`DROP TABLE audit_log; CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER, event TEXT, kind TEXT,
      created_at TEXT GENERATED ALWAYS AS (datetime(ts, 'unixepoch')) STORED, action TEXT AS (event), resource_type TEXT AS (kind))`);
    const add = rig.db.prepare('INSERT INTO audit_log (ts, event, kind) VALUES (?, ?, ?)');
    for (const [age, action, type] of [
      [400, 'update', 'proxy_host'],
      [200, 'login_failed', 'auth'],
      [200, 'update', 'proxy_host'],
      [0, 'update', 'proxy_host'],
    ] as const)
      add.run(Math.floor((NOW - age * DAY) / 1_000), action, type);
    const { targets } = await rig.run('keep: { default: 1y, auth: 90d }');
    expect(targets[0]?.purged).toMatchObject({ deleted: 2, young: 0 });
    expect(rig.ids()).toEqual([3, 4]);
    const [manifest] = listArchives(rig.archive);
    expect(manifest?.columns.map(({ name }) => name)).toEqual(['id', 'ts', 'event', 'kind']);
    expect(manifest?.time?.first).toBe(new Date(NOW - 400 * DAY).toISOString());
  });

  it('a run first finishes a run that stopped between archive and deletion', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3_000), fresh]);
    let requests = 0;
    const dying = (usual: Purger): Purger => ({
      ...usual,
      purge: (piece) => (++requests > 1 ? Promise.reject(new Error('killed')) : usual.purge(piece, [])),
    });
    await expect(rig.run('keep: { default: 1y }', { purger: dying })).rejects.toThrow('killed');
    expect(rig.ids().length).toBeGreaterThan(1_000);
    const { resumed, targets } = await rig.run('keep: { default: 1y }');
    expect(resumed.deleted).toBeGreaterThan(1_000);
    expect(targets[0]?.archives).toEqual([]);
    expect(rig.ids()).toEqual([3_001]);
    expect(rig.archived()).toEqual(Array.from({ length: 3_000 }, (_, n) => n + 1));
  });

  it('a run archives rows restored from a backup again, under the same event ids', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), fresh]);
    rig.db.exec(`VACUUM INTO '${rig.directory}/backup.db'`);
    await rig.run('keep: { default: 1y }');
    rig.db.exec(
      `ATTACH '${rig.directory}/backup.db' AS b; INSERT OR IGNORE INTO audit_log SELECT * FROM b.audit_log`,
    );
    expect(rig.ids()).toHaveLength(4);
    await rig.run('keep: { default: 1y }');
    expect(rig.ids()).toEqual([4]);
    expect(rig.archived()).toEqual([1, 2, 3, 1, 2, 3]);
  });

  it.each<[string, number, 'before' | 'after', number[]]>([
    ['was looked over', 0, 'before', []],
    ['was about to be archived', 0, 'after', []],
    ['was archived', 1, 'before', [1, 2, 3, 4, 5]],
  ])(
    'a run removes nothing from a database that replaced the previous one after it %s',
    async (_, rows, when, archived) => {
      rig = new RetentionRig();
      rig.insert([...old(5), fresh]);
      rig.db.exec(`VACUUM INTO '${rig.directory}/other.db'`); // the same rows, with unknown undelivered ones
      const replacing = async <T>(request: number, work: () => Promise<T>): Promise<T> => {
        const replace = () => {
          if (request >= rows && existsSync(`${rig.directory}/other.db`))
            renameSync(`${rig.directory}/other.db`, rig.database);
        };
        if (when === 'before') replace();
        const done = await work();
        replace();
        return done;
      };
      const purger = (usual: Purger): Purger => ({
        ...usual,
        probe: () => replacing(0, () => usual.probe([])),
        purge: (piece) => replacing(1, () => usual.purge(piece, [])),
      });
      await expect(rig.run('keep: { default: 1y }', { purger })).rejects.toThrow(
        /has been replaced since the run began/,
      );
      expect(existsSync(`${rig.directory}/other.db`)).toBe(false);
      expect(rig.archived()).toEqual(archived);
      const db = new Database(rig.database, { readonly: true });
      expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(6);
      db.close();
    },
  );

  it('a run archives columns and values that no configuration names', async () => {
    rig = new RetentionRig();
    rig.db.exec('ALTER TABLE audit_log ADD COLUMN "más" BLOB');
    rig.insert([...old(2), fresh]);
    rig.db
      .prepare('UPDATE audit_log SET "más" = ?, user_name = CAST(? AS TEXT)')
      .run(Buffer.from([1, 0]), Buffer.from([0xff, 0x41]));
    await rig.run('keep: { default: 1y }');
    expect(rig.ids()).toEqual([3]);
  });

  it('a run rejects a view and a missing table', async () => {
    rig = new RetentionRig();
    rig.db.exec('ALTER TABLE audit_log RENAME TO t; CREATE VIEW audit_log AS SELECT * FROM t');
    await expect(rig.run('keep: { default: 1y }')).rejects.toThrow(
      /is a view: rows can't be removed from it/,
    );
    rig.db.exec('DROP VIEW audit_log');
    await expect(rig.run('keep: { default: 1y }')).rejects.toMatchObject({ code: 'SOURCE_UNUSABLE' });
  });

  it('a run removes archives past their age, except those whose rows may still be in the table', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), fresh]);
    await rig.run('keep: { default: 1y }');
    rig.insert([{ created: sqlTime(NOW - 380 * DAY) }, fresh]);
    rig.clock += 20 * DAY;
    await rig.run('keep: { default: 1y }');
    const { targets } = await rig.run('keep: { default: 1y }').then((result) => {
      expect(result.expired).toBe(0);
      return result;
    });
    expect(targets[0]?.archives).toEqual([]);
    expect(rig.archived()).toEqual([1, 2, 3, 5]);
    const keeping = (keep: string) =>
      rig.run(`keep: { default: 1y }, archive: { directory: ${rig.archive}, keep: ${keep} }`);
    expect((await keeping('10d')).expired).toBe(1);
    expect(rig.archived()).toEqual([5]);
    rig.clock += DAY;
    expect((await keeping('1d')).expired).toBe(0); // not older than a day
    rig.clock += 1;
    expect((await keeping('1d')).expired).toBe(1);
    rig.insert([...old(1), fresh]);
    const dying = (usual: Purger): Purger => ({
      ...usual,
      purge: () => Promise.reject(new Error('down')),
    });
    await expect(rig.run('keep: { default: 1y }', { purger: dying })).rejects.toThrow('down');
    expect(rig.archived()).toEqual([7]);
  });

  it('a run never removes its own archive, however short archives are kept', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), fresh]);
    const keeping = (keep: string) =>
      rig.run(`keep: { default: 1y }, archive: { directory: ${rig.archive}, keep: ${keep} }`);
    const first = await keeping('30d'); // shorter than the age of rows
    expect(first).toMatchObject({ expired: 0, targets: [{ purged: { deleted: 3 } }] });
    expect(rig.archived()).toEqual([1, 2, 3]);
    rig.clock += 29 * DAY;
    expect((await keeping('30d')).expired).toBe(0);
    rig.clock += 2 * DAY;
    expect((await keeping('30d')).expired).toBe(1);
    rig.insert([...old(2), { created: sqlTime(rig.clock) }]);
    const set: (usual: Purger) => Purger = (usual) => ({
      ...usual,
      purge: (piece) => {
        const purged = usual.purge(piece, []);
        rig.clock += 90 * DAY; // the clock is set forward during the run
        return purged;
      },
    });
    const config = `keep: { default: 1y }, archive: { directory: ${rig.archive}, keep: 30d }`;
    expect((await rig.run(config, { purger: set })).expired).toBe(0);
    expect(rig.archived()).toEqual([5, 6]);
  });

  it('a run returns free space if the database has auto_vacuum', async () => {
    rig = new RetentionRig((db) => db.pragma('auto_vacuum = incremental'));
    rig.insert([...old(5_000), fresh]);
    const { targets } = await rig.run('keep: { default: 1y }');
    expect(targets[0]?.space).toMatchObject({ auto_vacuum: 'incremental', free_bytes: 0 });
    expect(Number(rig.db.pragma('page_count', { simple: true }))).toBeLessThan(50);
  });

  it('a run starts no second chain if its archives are missing, because their disk may not be mounted', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), fresh]);
    await rig.run('keep: { default: 1y }');
    rig.insert([...old(2), fresh]);
    const elsewhere = `${rig.directory}/elsewhere`;
    renameSync(rig.archive, elsewhere);
    const refused = rig.run('keep: { default: 1y }');
    await expect(refused).rejects.toThrow(
      /archive has no archives, but rows up to archive 1 .*\. Mount its disk/,
    );
    expect(existsSync(rig.archive)).toBe(false);
    expect(rig.ids()).toEqual([4, 5, 6, 7]);
    renameSync(elsewhere, rig.archive);
    await rig.run('keep: { default: 1y }');
    expect([rig.ids(), rig.archived()]).toEqual([
      [4, 7],
      [1, 2, 3, 5, 6],
    ]);
    // If they are lost, the operator configures another directory.
    rig.insert([...old(1), fresh]);
    await rig.run(`keep: { default: 1y }, archive: { directory: ${elsewhere} }`);
    expect(rig.ids()).toEqual([4, 7, 9]);
    expect(listArchives(elsewhere).map(({ sequence }) => sequence)[0]).toBe(1);
  });

  it("a run archives no rows that can't be removed", async () => {
    rig = new RetentionRig();
    rig.insert([...old(3), fresh]);
    const down = (usual: Purger): Purger => ({ ...usual, probe: () => Promise.reject(new Error('down')) });
    await expect(rig.run('keep: { default: 1y }', { purger: down })).rejects.toThrow('down');
    expect(rig.archived()).toEqual([]);
    expect(rig.ids()).toHaveLength(4);
  });

  it('an aborted run leaves nothing half done', async () => {
    rig = new RetentionRig();
    rig.insert([...old(3_000), fresh]);
    const broken = new AbortController();
    const purger = (usual: Purger): Purger => ({
      ...usual,
      purge: async (piece) => {
        const purged = await usual.purge(piece, []);
        broken.abort(new Error('stop'));
        return purged;
      },
    });
    await expect(rig.run('keep: { default: 1y }', { signal: broken.signal, purger })).rejects.toThrow('stop');
    expect(
      existsSync(rig.archive) && readdirSync(rig.archive).filter((name) => name.endsWith('.tmp')),
    ).toEqual([]);
    await rig.run('keep: { default: 1y }');
    expect([...rig.ids(), ...rig.archived()].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 3_001 }, (_, n) => n + 1),
    );
  });
});
