import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openSource, reading, readOn, request, START, TABLE, temporaryDirectory, Writer } from './postern.js';

async function posternIn(directory: string, mode = 'wal'): Promise<{ database: string; writer: Writer }> {
  const database = join(directory, 'posternproxy.db');
  const writer = await new Writer(database).open(mode);
  onTestFinished(() => writer.kill());
  await writer.exec(TABLE);
  return { database, writer };
}

function directory(): string {
  return temporaryDirectory(onTestFinished);
}

/** Long enough for a file's time stamps to tell a later write apart. */
const settle = () => sleep(120);

describe('a database in each of its states', () => {
  test('the linked SQLite has the fix for the WAL checkpoint race', () => {
    const version = new Database(':memory:').prepare('SELECT sqlite_version()').pluck().get() as string;
    const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
    expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(3_051_003);
  });

  test('a running writer: all rows, also those only in the WAL', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    const look = reading(openSource(database).source.look(request(START)));
    expect(look).toMatchObject({ postern: 'running', upTo: 3, maxId: 3, more: false, markDeleted: false });
    expect(look.events.map((event) => event.sequence)).toEqual([1, 2, 3]);
  });

  test('a writer killed with -9: all rows', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    await writer.kill();
    expect(reading(openSource(database).source.look(request(START))).upTo).toBe(3);
  });

  test('a writer that has stopped: its last rows come from a copy, once, and nothing is left behind', async () => {
    const home = directory();
    const { database, writer } = await posternIn(home);
    const postern = openSource(database);
    await writer.insert(3);
    const { mark } = readOn(postern, START);
    await writer.insert(2);
    await writer.stop();
    expect(readdirSync(home)).toEqual(['posternproxy.db']);
    expect(postern.source.look(request(mark))).toMatchObject({ state: 'stopped', message: /just stopped/ });
    await settle();
    const look = reading(postern.source.look(request(mark)));
    expect(look).toMatchObject({ postern: 'stopped', upTo: 5, more: false });
    expect(look.events.map((event) => event.sequence)).toEqual([4, 5]);
    expect(readdirSync(home)).toEqual(['posternproxy.db', 'posternproxy.db.private']);
    expect(readdirSync(`${database}.private/cold`)).toEqual([]);
    const again = await new Writer(database).open();
    onTestFinished(() => again.kill());
    expect(await again.insert(1)).toBe(6);
    expect(reading(postern.source.look(request(mark)))).toMatchObject({ postern: 'running', upTo: 6 });
  });
});
