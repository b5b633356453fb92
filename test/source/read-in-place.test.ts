import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { readInPlace } from '../../src/source/read-in-place.js';
import { readWithRetries } from '../../src/source/read-with-retries.js';
import type { WaitingState } from '../../src/source/source.js';
import { openFiles } from '../support/descriptors.js';
import { temporaryDirectory } from './postern-fixture.js';
import { Writer } from './process.js';

function databaseWith(path: string, value: number): string {
  const db = new Database(path);
  db.exec(`CREATE TABLE t (a); INSERT INTO t VALUES (${value})`);
  db.close();
  return path;
}

const read = (db: Database) => db.prepare('SELECT a FROM t').pluck().get();

describe('reading in place', () => {
  test('a read is discarded if the file was replaced in the meantime', () => {
    const home = temporaryDirectory(onTestFinished);
    const database = databaseWith(join(home, 'a.db'), 1);
    const other = databaseWith(join(home, 'b.db'), 2);
    const attempt = readInPlace(database, (db) => {
      const value = read(db);
      renameSync(other, database);
      return value;
    });
    expect(attempt).toMatchObject({ kind: 'again', waiting: { state: 'recovering' } });
    expect(readInPlace(database, read)).toMatchObject({ kind: 'done', value: 2 });
  });

  test('a read is discarded if the file disappeared in the meantime', () => {
    const home = temporaryDirectory(onTestFinished);
    const database = databaseWith(join(home, 'a.db'), 1);
    expect(readInPlace(database, () => renameSync(database, `${database}.old`))).toMatchObject({
      kind: 'again',
    });
    expect(readInPlace(database, read)).toMatchObject({ kind: 'waiting', waiting: { state: 'missing' } });
  });

  test('a read in one transaction does not see concurrent commits', () => {
    const home = temporaryDirectory(onTestFinished);
    const database = databaseWith(join(home, 'a.db'), 1);
    const writer = new Database(database);
    onTestFinished(() => {
      writer.close();
    });
    writer.pragma('journal_mode = WAL');
    writer.exec('UPDATE t SET a = 1');
    const attempt = readInPlace(database, (db) => {
      const before = read(db);
      writer.exec('UPDATE t SET a = 2');
      return [before, read(db)];
    });
    expect(attempt).toMatchObject({ kind: 'done', value: [1, 1] });
  });

  test('the work of a read begins only with the lock, so that a retry repeats nothing', () => {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    const writer = new Database(database, { timeout: 0 });
    onTestFinished(() => {
      writer.close();
    });
    writer.exec('BEGIN EXCLUSIVE');
    let began = 0;
    const attempt = readInPlace(database, () => began++);
    expect([attempt, began]).toMatchObject([{ kind: 'waiting', waiting: { state: 'locked' } }, 0]);
    writer.exec('COMMIT');
    const late = readInPlace(database, () => expect(() => writer.exec('BEGIN EXCLUSIVE')).toThrow(/locked/));
    expect(late).toMatchObject({ kind: 'done' });
  });

  test('a read in place drops no lock of another reader in this process', async () => {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    const other = new Database(database, { readonly: true });
    const postern = await new Writer(database).open('delete');
    onTestFinished(async () => {
      other.close();
      await postern.kill();
    });
    await postern.exec('PRAGMA busy_timeout = 0');
    other.exec('BEGIN; SELECT a FROM t');
    for (let times = 0; times < 2; times++) expect(readInPlace(database, read)).toMatchObject({ value: 1 });
    await expect(postern.exec('BEGIN EXCLUSIVE')).rejects.toThrow('SQLITE_BUSY');
    other.exec('COMMIT');
    await postern.exec('BEGIN EXCLUSIVE');
  });

  test.skipIf(process.platform !== 'linux')(
    'a file that was replaced or removed is not kept on the disk',
    () => {
      const home = temporaryDirectory(onTestFinished);
      const database = databaseWith(join(home, 'a.db'), 1);
      const kept = () => openFiles('self').filter((path) => path.startsWith(home));
      expect(readInPlace(database, read)).toMatchObject({ value: 1 });
      expect(kept()).toEqual([database]);
      renameSync(databaseWith(join(home, 'b.db'), 2), database);
      const postern = new Database(database);
      postern.exec('PRAGMA journal_mode = WAL; INSERT INTO t VALUES (3)');
      expect(readInPlace(database, read)).toMatchObject({ value: 2 });
      postern.close();
      expect(kept()).toEqual([]);
      readInPlace(database, read);
      rmSync(database);
      readInPlace(database, read);
      expect(kept()).toEqual([]);
    },
  );

  test("a read in place can't write", () => {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    const attempt = readInPlace(database, (db) => db.exec('DELETE FROM t'));
    expect(attempt).toMatchObject({ kind: 'waiting', waiting: { code: 'SQLITE_READONLY' } });
    expect(readInPlace(database, read)).toMatchObject({ value: 1 });
  });

  test('a read in place always closes its connection', () => {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    let seen: Database | null = null;
    readInPlace(database, (db) => {
      seen = db;
      throw new Error('a defect');
    });
    expect(seen).toMatchObject({ open: false });
    writeFileSync(database, 'text');
  });
});

describe('reading with retries', () => {
  function locked(): { database: string; unlock: () => void } {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    const writer = new Database(database);
    onTestFinished(() => {
      writer.close();
    });
    writer.exec('BEGIN EXCLUSIVE');
    return { database, unlock: () => writer.exec('COMMIT') };
  }

  test('a thread that may block waits for a lock, and gives up after its attempts', () => {
    const { database, unlock } = locked();
    const brief: ReadonlySet<WaitingState> = new Set(['locked']);
    let tries = 0;
    const blocking = { pauseMs: 1, brief };
    const beforeTry = () => {
      tries++;
    };
    expect(readWithRetries(database, read, { tries: 3, blocking, beforeTry })).toMatchObject({
      kind: 'waiting',
      waiting: { state: 'locked' },
    });
    expect(tries).toBe(3);
    const unlockSecond = () => ++tries === 5 && unlock();
    const result = readWithRetries(database, read, { tries: 9, blocking, beforeTry: unlockSecond });
    expect([result, tries]).toMatchObject([{ kind: 'done', value: 1 }, 5]);
  });

  test('the shipping thread does not wait for a lock', () => {
    const { database } = locked();
    let tries = 0;
    const beforeTry = () => {
      tries++;
    };
    expect(readWithRetries(database, read, { tries: 3, beforeTry })).toMatchObject({ kind: 'waiting' });
    expect(tries).toBe(1);
  });

  test("an error of the work's own is thrown and not retried", () => {
    const database = databaseWith(join(temporaryDirectory(onTestFinished), 'a.db'), 1);
    let calls = 0;
    const work = () => {
      calls++;
      throw new RangeError('mine');
    };
    const isOwnError = (error: unknown) => error instanceof RangeError;
    expect(() => readWithRetries(database, work, { tries: 3, isOwnError })).toThrow('mine');
    expect(calls).toBe(1);
  });
});
