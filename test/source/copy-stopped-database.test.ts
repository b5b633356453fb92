import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { StoppedDatabaseCopies } from '../../src/source/copy-stopped-database.js';
import { type FileState, stateOfFiles } from '../../src/source/file-state.js';
import { cantOpen } from '../../src/source/waiting-reasons.js';
import { temporaryDirectory } from './postern-fixture.js';

const log = pino({ level: 'silent' });

function scene(ticks?: () => number) {
  const home = temporaryDirectory(onTestFinished);
  const database = join(home, 'posternproxy.db');
  const write = (value: number) => {
    const db = new Database(database);
    db.exec(`CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (${value})`);
    db.close();
  };
  write(1);
  const directory = join(home, 'private');
  const copies = new StoppedDatabaseCopies({
    database,
    directory,
    log,
    ...(ticks === undefined ? {} : { ticks }),
  });
  onTestFinished(() => copies.drop());
  return { database, directory, copies, write };
}

function filesOf(database: string): FileState {
  const files = stateOfFiles(database);
  if (files === null) throw new Error('no file');
  return files;
}

const settle = () => sleep(120);

describe('copies of a stopped database', () => {
  test('a copy is discarded if the files changed in the meantime', async () => {
    const { database, directory, copies, write } = scene();
    await settle();
    const before = filesOf(database);
    write(2);
    expect(copies.getOrCreate(before, cantOpen(before))).toEqual({
      again: 'the files changed while they were copied',
    });
    expect(readdirSync(directory)).toEqual([]);
  });

  test('unchanged files are copied once, and the copy is removed after a while', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { database, directory, copies } = scene();
    const files = { ...filesOf(database), changed: [0] };
    const first = copies.getOrCreate(files, cantOpen(files));
    expect(copies.getOrCreate(files, cantOpen(files))).toEqual(first);
    expect(readdirSync(directory)).toHaveLength(1);
    vi.advanceTimersByTime(31_000);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('copies take 5 % of the time if a writer stops after each commit', () => {
    let now = 1_000;
    const { database, copies, write } = scene(() => now++); // each copy takes 1 ms
    const stopped = (value: number) => {
      write(value);
      const files = { ...filesOf(database), changed: [0] };
      return copies.getOrCreate(files, cantOpen(files));
    };
    expect(stopped(1)).toHaveProperty('path');
    now += 15;
    expect(stopped(2)).toMatchObject({
      state: 'stopped',
      message: expect.stringMatching(/about to be read/),
    });
    now += 10;
    expect(stopped(3)).toHaveProperty('path');
  });
});
