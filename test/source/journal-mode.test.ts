import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inspectDatabase } from '../../src/commands/check/database.js';
import { parseConfig } from '../../src/config/load.js';
import { readInPlace } from '../../src/source/read-in-place.js';
import {
  markAt,
  openSource,
  reading,
  readOn,
  request,
  START,
  TABLE,
  temporaryDirectory,
  Writer,
} from './postern-fixture.js';

/** Long enough for the time stamps of files to tell a later write apart. */
const settle = () => sleep(120);

async function postern(rows: number, mode = 'delete') {
  const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
  const writer = new Writer(database);
  onTestFinished(() => writer.kill());
  await writer.open(mode);
  await writer.exec(TABLE);
  await writer.insert(rows);
  await settle();
  return { database, writer };
}

describe('a database with a rollback journal', () => {
  test('a database with a rollback journal is not read during a transaction, unless that lasts', async () => {
    const { database, writer } = await postern(3);
    const { source } = openSource(database);
    const found = () => reading(source.read(request(START, { maxRows: 9 })));
    expect(found()).toMatchObject({ more: false, events: { length: 3 } });
    await writer.exec("BEGIN IMMEDIATE; INSERT INTO audit_log (created_at, action) VALUES ('x', 'update')");
    expect(found()).toMatchObject({ more: true, events: [] });
    await settle();
    expect(found()).toMatchObject({ more: false, events: { length: 3 } });
    await writer.exec('COMMIT');
    expect(readOn(openSource(database), START).ids).toEqual([1, 2, 3, 4]);
  });

  test('a database with a rollback journal is read in short pages, each row once', async () => {
    const { database } = await postern(20_000);
    const page = reading(
      openSource(database).source.read(request(START, { maxRows: 20_000, maxBytes: 2 ** 30 })),
    );
    expect(page.events.length).toBeLessThan(20_000);
    expect(page.more).toBe(true);
    expect(readOn(openSource(database), START).ids).toEqual(Array.from({ length: 20_000 }, (_, n) => n + 1));
  });

  test('a database with a rollback journal is not opened while its files are unchanged since all rows were read', async () => {
    const { database, writer } = await postern(2);
    const opened = openSource(database);
    const events = reading(opened.source.read(request(START))).events;
    const last = events.at(-1);
    if (last === undefined) throw new Error('no rows');
    const mark = markAt(last);
    opened.recorded.set('1:2', last.id.slice(0, 16));
    expect(reading(opened.source.read(request(mark))).events).toEqual([]);
    await writer.exec('BEGIN EXCLUSIVE'); // who opens it now finds it locked
    expect(readInPlace(database, () => 0)).toMatchObject({ kind: 'waiting', waiting: { state: 'locked' } });
    expect(opened.source.read(request(mark))).toMatchObject({ state: 'reading', events: [], more: false });
    await writer.exec('COMMIT');
    await writer.insert(1);
    await settle();
    expect(reading(opened.source.read(request(mark))).events.map(({ sequence }) => sequence)).toEqual([3]);
  });

  test.each([
    ['delete', 'warning'],
    ['wal', 'ok'],
  ])('check names the journal mode (%s)', async (mode, level) => {
    const { database } = await postern(1, mode);
    const findings = inspectDatabase(parseConfig(`source: { database: ${database} }\nserver: s\n`, 'c.yml'));
    const words = findings.filter(({ what }) => what.includes('has a rollback journal'));
    expect(words.map((finding) => finding.level)).toEqual(level === 'ok' ? [] : [level]);
  });
});
