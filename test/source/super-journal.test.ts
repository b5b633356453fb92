import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { StoppedDatabaseCopies } from '../../src/source/copy-stopped-database.js';
import { stateOfFiles } from '../../src/source/file-state.js';
import { cantOpen } from '../../src/source/waiting-reasons.js';
import { prepareHotJournal } from '../support/hot-journal.js';
import { temporaryDirectory } from './postern-fixture.js';

/** A database in the middle of a transaction, with a file of somebody else's as the super-journal. */
function scene() {
  const home = temporaryDirectory(onTestFinished);
  const database = join(home, 'posternproxy.db');
  const precious = join(home, 'precious.conf');
  writeFileSync(precious, 'of somebody else\n');
  return { home, database, precious };
}

/** How many rows the interrupted transaction has changed, as a reader of a copy sees it. */
async function changedInCopy(home: string, database: string): Promise<number> {
  const copies = new StoppedDatabaseCopies({
    database,
    directory: join(home, 'private'),
    log: pino({ level: 'silent' }),
  });
  onTestFinished(() => copies.drop());
  await sleep(120); // files that have just been written are not copied
  const files = stateOfFiles(database);
  if (files === null) throw new Error('no file');
  const copy = copies.getOrCreate(files, cantOpen(files));
  if (!('path' in copy)) throw new Error(JSON.stringify(copy));
  return changedIn(copy.path);
}

function changedIn(path: string): number {
  const db = new Database(path);
  try {
    return db.prepare("SELECT count(*) FROM t WHERE value LIKE 'after%'").pluck().get() as number;
  } finally {
    db.close();
  }
}

test('SQLite itself deletes what a journal names', () => {
  const { database, precious } = scene();
  prepareHotJournal(database, precious);
  expect(changedIn(database)).toBe(0);
  expect(existsSync(precious)).toBe(false);
});

test('a copy is rolled back, and the file named in its journal stays', async () => {
  const { home, database, precious } = scene();
  prepareHotJournal(database, precious);
  expect(await changedInCopy(home, database)).toBe(0);
  expect(existsSync(precious)).toBe(true);
});

test('a missing super-journal commits the transaction, in the copy as in SQLite', async () => {
  const { home, database, precious } = scene();
  prepareHotJournal(database, `${precious}.gone`);
  const inCopy = await changedInCopy(home, database);
  expect(inCopy).toBeGreaterThan(0);
  expect(inCopy).toBe(changedIn(database));
});

test('a journal of a single database is rolled back unchanged', async () => {
  const { home, database } = scene();
  prepareHotJournal(database, null);
  expect(await changedInCopy(home, database)).toBe(0);
});
