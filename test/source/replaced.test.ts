import { execFileSync } from 'node:child_process';
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import Database from '../../src/load-sqlite.js';
import type { ReadResult } from '../../src/source/source.js';
import {
  markAt,
  openSource,
  type Reading,
  reading,
  readOn,
  request,
  START,
  TABLE,
  temporaryDirectory,
  Writer,
} from './postern-fixture.js';
import { hasSqliteShell } from './process.js';

interface Scene {
  readonly database: string;
  readonly backup: string;
  readonly writer: Writer;
  readonly postern: Reading;
}

/** Ten rows, of which the first five are in a backup too. */
async function scene({ mode = 'wal', table = TABLE } = {}): Promise<Scene> {
  const home = temporaryDirectory(onTestFinished);
  const database = join(home, 'posternproxy.db');
  const backup = join(home, 'backup.db');
  const writer = await writerAt(database).open(mode);
  await writer.exec(table);
  await writer.insert(5, { action: 'old' });
  await writer.exec(`VACUUM INTO '${backup}'`);
  await writer.insert(5, { action: 'newer' });
  return { database, backup, writer, postern: openSource(database) };
}

function writerAt(database: string): Writer {
  const writer = new Writer(database);
  onTestFinished(() => writer.kill());
  return writer;
}

/** Rows of another history up to the same id as the one that was read. */
function continueDifferently(backup: string, upTo: number): void {
  const db = new Database(backup);
  const insert = db.prepare("INSERT INTO audit_log (created_at, action) VALUES ('2026-11-23 00:00:00', ?)");
  while (Number(insert.run('other').lastInsertRowid) < upTo);
  db.pragma('journal_mode = WAL');
  db.close();
}

/** Walks the table again as a new timeline does, and gives the rows that were never recorded. */
function unknownRows({ source, recorded }: Reading): number[] {
  const known = new Set(recorded.values());
  const look = reading(source.read(request({ ...START, timeline: 2 })));
  return look.events.filter((event) => !known.has(event.id.slice(0, 16))).map((event) => event.sequence);
}

const settle = () => sleep(120);
const shell = hasSqliteShell();
const NO_SEQUENCE = TABLE.replace(' AUTOINCREMENT', '');

describe('another history behind the path', () => {
  type Case = [string, (scene: Scene) => Promise<void>, RegExp, number[]];
  const cases: Case[] = [
    [
      'a backup renamed over the database, and gone on to the same id',
      async ({ database, backup, writer }) => {
        await writer.stop();
        continueDifferently(backup, 10);
        renameSync(backup, database);
        await (await writerAt(database).open()).insert(1);
      },
      /row 10 is not the one that was read/,
      [6, 7, 8, 9, 10, 11],
    ],
    [
      'a backup with fewer rows renamed over the database',
      async ({ database, backup, writer }) => {
        await writer.stop();
        renameSync(backup, database);
        await (await writerAt(database).open()).insert(2);
      },
      /ids have reached 7 only/,
      [6, 7],
    ],
    [
      'the database removed and the backup copied to its place',
      async ({ database, backup, writer }) => {
        await writer.stop();
        continueDifferently(backup, 12);
        rmSync(database);
        copyFileSync(backup, database);
        await (await writerAt(database).open()).insert(1);
      },
      /row 10 is not the one/,
      [6, 7, 8, 9, 10, 11, 12, 13],
    ],
    [
      'the backup copied into the file in place',
      async ({ database, backup, writer }) => {
        await writer.stop();
        continueDifferently(backup, 11);
        execFileSync('cp', [backup, database]);
        await (await writerAt(database).open()).insert(1);
      },
      /row 10 is not the one/,
      [6, 7, 8, 9, 10, 11, 12],
    ],
    [
      'the same, and it stays stopped: seen in the copy',
      async ({ database, backup, writer }) => {
        await writer.stop();
        continueDifferently(backup, 11);
        execFileSync('cp', [backup, database]);
        await settle();
      },
      /row 10 is not the one/,
      [6, 7, 8, 9, 10, 11],
    ],
    [
      '.restore into the live database',
      async ({ database, backup }) => {
        continueDifferently(backup, 10);
        execFileSync('sqlite3', [database, `.restore ${backup}`]);
      },
      /row 10 is not the one/,
      [6, 7, 8, 9, 10],
    ],
    [
      'the table emptied, its sequence reset and filled to the same id',
      async ({ writer }) => {
        await writer.exec("DELETE FROM audit_log; DELETE FROM sqlite_sequence WHERE name = 'audit_log'");
        await writer.insert(10, { action: 'third' });
      },
      /row 10 is not the one/,
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    ],
    [
      'DROP and CREATE',
      async ({ writer }) => {
        await writer.exec(`DROP TABLE audit_log; ${TABLE}`);
        await writer.insert(3, { action: 'third' });
      },
      /ids have reached 3 only/,
      [1, 2, 3],
    ],
    [
      'the row at the mark edited',
      async ({ writer }) => {
        await writer.exec("UPDATE audit_log SET action = 'edited' WHERE id = 10");
      },
      /row 10 is not the one/,
      [10],
    ],
    [
      'the wrong backup, then the row at the mark deleted',
      async ({ database, backup, writer }) => {
        await writer.stop();
        continueDifferently(backup, 12);
        renameSync(backup, database);
        await (await writerAt(database).open()).exec('DELETE FROM audit_log WHERE id = 10');
      },
      /row 10 is gone, and row 9 is not the one that was read/,
      [6, 7, 8, 9, 11, 12],
    ],
  ];
  test.each(cases.filter(([name]) => shell || !name.startsWith('.restore')))(
    'another history behind the path: %s',
    async (_, change, reason, unknown) => {
      const { postern, ...rest } = await scene();
      const { mark } = readOn(postern, START);
      expect(mark.id).toBe(10);
      await change({ postern, ...rest });
      expect(postern.source.read(request(mark))).toMatchObject({
        state: 'replaced',
        reason: expect.stringMatching(reason),
      });
      expect(unknownRows(postern)).toEqual(unknown);
    },
  );

  test.each(['wal', 'delete'])('a reused id is read without AUTOINCREMENT (%s)', async (mode) => {
    const { postern, writer } = await scene({ mode, table: NO_SEQUENCE });
    const { mark } = readOn(postern, START);
    await writer.exec('DELETE FROM audit_log WHERE id >= 9');
    expect(await writer.insert(1, { action: 'again' })).toBe(9);
    expect(postern.source.read(request(mark))).toMatchObject({
      state: 'replaced',
      reason: 'row 10 is gone, and row 9 is not the one that was read',
    });
    expect(unknownRows(postern)).toEqual([9]);
  });

  test('an emptied table without AUTOINCREMENT is not another history until it has a row', async () => {
    const { postern, writer } = await scene({ table: NO_SEQUENCE });
    const { mark } = readOn(postern, START);
    await writer.exec('DELETE FROM audit_log');
    expect(postern.source.read(request(mark))).toMatchObject({
      state: 'reading',
      events: [],
      maxId: 0,
      markDeleted: false,
    });
    expect(await writer.insert(1, { action: 'again' })).toBe(1);
    expect(postern.source.read(request(mark))).toMatchObject({ state: 'replaced' });
    expect(unknownRows(postern)).toEqual([1]);
  });
});

describe('the same history, changed by hand', () => {
  type Case = [string, string, Partial<Extract<ReadResult, { state: 'reading' }>>];
  test.each<Case>([
    [
      'the row at the mark deleted',
      'DELETE FROM audit_log WHERE id = 10',
      { markDeleted: true, maxId: 9, upTo: 10 },
    ],
    ['all deleted', 'DELETE FROM audit_log', { markDeleted: true, maxId: 0, upTo: 10 }],
    [
      'rows in the middle deleted',
      'DELETE FROM audit_log WHERE id IN (3, 4, 9)',
      { markDeleted: false, maxId: 10 },
    ],
    [
      'an older row edited',
      "UPDATE audit_log SET action = 'x' WHERE id = 3",
      { markDeleted: false, maxId: 10 },
    ],
    ['another table changed', 'CREATE TABLE other (a)', { markDeleted: false, maxId: 10 }],
    ['VACUUM', 'VACUUM', { markDeleted: false, maxId: 10 }],
    ['a column added', 'ALTER TABLE audit_log ADD COLUMN server TEXT', { markDeleted: false, maxId: 10 }],
    [
      'a column added with a default',
      "ALTER TABLE audit_log ADD COLUMN server TEXT DEFAULT 'local'",
      { markDeleted: false, maxId: 10 },
    ],
    [
      'a column added with a number as default',
      'ALTER TABLE audit_log ADD COLUMN server TEXT NOT NULL DEFAULT 0',
      { markDeleted: false, maxId: 10 },
    ],
    [
      'a column added that is not mapped',
      "ALTER TABLE audit_log ADD COLUMN agent TEXT DEFAULT 'x'",
      { markDeleted: false, maxId: 10 },
    ],
  ])('the same history, changed by hand: %s', async (_, sql, found) => {
    const { postern, writer } = await scene();
    const { mark } = readOn(postern, START);
    await writer.exec(sql);
    expect(postern.source.read(request(mark))).toMatchObject({
      state: 'reading',
      events: [],
      more: false,
      ...found,
    });
    expect(unknownRows(postern).filter((id) => !sql.startsWith('UPDATE') || id !== 3)).toEqual([]);
    const next = await writer.insert(1);
    expect(next).toBe(11);
    expect(reading(postern.source.read(request(mark))).events.map((event) => event.sequence)).toEqual([11]);
  });

  test('the fingerprint of the row below a deleted mark is queried once, not at each read', async () => {
    const { database, writer } = await scene();
    const asked: number[] = [];
    const postern = openSource(database, {
      history: {
        fingerprintOf: (_, id) => {
          asked.push(id);
          return null;
        },
      },
    });
    const mark = markAt(reading(postern.source.read(request(START))).events[9] ?? raise());
    await writer.exec('DELETE FROM audit_log WHERE id = 10');
    for (let at = 0; at < 5; at++) postern.source.read(request(mark));
    expect(asked).toEqual([9]);
  });

  test('each read sees one file while the file is replaced during reads', async () => {
    const { database, backup, writer, postern } = await scene();
    const { mark } = readOn(postern, START);
    await writer.stop();
    continueDifferently(backup, 10);
    const other = `${database}.other`;
    copyFileSync(database, other);
    const swap = writerAt(join(database, '..', 'swap'));
    await swap.ask('swap', { paths: [database, other, backup] });
    const seen = new Set<string>();
    for (let at = 0; at < 400; at++) {
      const look = postern.source.read(request(mark));
      seen.add(look.state === 'replaced' ? look.reason : look.state);
    }
    for (const word of seen)
      expect([
        'stopped',
        'recovering',
        'reading',
        'missing',
        'row 10 is not the one that was read',
      ]).toContain(word);
  });
});

function raise(): never {
  throw new Error('no such row');
}
