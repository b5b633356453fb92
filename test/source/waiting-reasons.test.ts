import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { removeCompiled } from '../support/compiled.js';
import { openFiles } from '../support/descriptors.js';
import {
  openSource,
  Reader,
  reading,
  readOn,
  request,
  START,
  TABLE,
  temporaryDirectory,
  Writer,
} from './postern-fixture.js';
import { isRoot } from './process.js';

const root = isRoot();
afterAll(removeCompiled);

function directory(): string {
  return temporaryDirectory(onTestFinished);
}

function writerAt(database: string): Writer {
  const writer = new Writer(database);
  onTestFinished(() => writer.kill());
  return writer;
}

async function posternIn(home: string, mode = 'wal'): Promise<{ database: string; writer: Writer }> {
  const database = join(home, 'posternproxy.db');
  const writer = await writerAt(database).open(mode);
  await writer.exec(TABLE);
  return { database, writer };
}

/** Long enough for the time stamps of files to tell a later write apart. */
const settle = () => sleep(120);

test('the linked SQLite has the fix for the corruption by two processes that checkpoint', () => {
  const version = new Database(':memory:').prepare('SELECT sqlite_version()').pluck().get() as string;
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(3_051_003);
});

describe('a database that can be read in place', () => {
  test.each(['wal', 'delete', 'truncate', 'persist'])(
    'all rows of a running writer are read, journal mode %s',
    async (mode) => {
      const { database, writer } = await posternIn(directory(), mode);
      await writer.insert(3);
      const look = reading(openSource(database).source.read(request(START)));
      expect(look).toMatchObject({ postern: 'running', upTo: 3, maxId: 3, more: false, markDeleted: false });
      expect(look.events.map((event) => event.sequence)).toEqual([1, 2, 3]);
    },
  );

  test('all rows of a writer killed with -9 are read, even those only in the WAL', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    await writer.kill();
    expect(statSync(`${database}-wal`).size).toBeGreaterThan(0);
    expect(reading(openSource(database).source.read(request(START)))).toMatchObject({
      postern: 'running',
      upTo: 3,
    });
  });

  test('uncommitted rows are not read', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(1);
    await writer.exec('BEGIN');
    await writer.insert(1, { together: false });
    const { source } = openSource(database);
    expect(reading(source.read(request(START))).upTo).toBe(1);
    await writer.exec('COMMIT');
    expect(reading(source.read(request(START))).upTo).toBe(2);
  });

  test('a link to the database is followed, with the companion files of its target', async () => {
    const home = directory();
    const { database, writer } = await posternIn(home);
    await writer.insert(2);
    const link = join(home, 'link.db');
    symlinkSync(database, link);
    expect(reading(openSource(link).source.read(request(START)))).toMatchObject({
      postern: 'running',
      upTo: 2,
    });
  });

  test('no descriptor of the database stays open', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(2);
    const { source } = openSource(database);
    for (let at = 0; at < 50; at++) source.read(request(START));
    expect(openFiles('self').filter((path) => path.includes(database))).toEqual([]);
  });
});

/** A rollback journal that its writer, killed in the middle of a transaction, has left: two rows were committed. */
async function hotJournal(home: string): Promise<{ database: string }> {
  const { database, writer } = await posternIn(home, 'delete');
  await writer.insert(2);
  // A cache of one page makes the transaction spill into the file before its end.
  await writer.exec('PRAGMA cache_size = 1; BEGIN');
  await writer.insert(5_000, { together: false });
  await writer.kill();
  return { database };
}

describe('a stopped Postern', () => {
  test('the last rows of a stopped Postern come from a copy, and nothing is left behind', async () => {
    const home = directory();
    const { database, writer } = await posternIn(home);
    const postern = openSource(database);
    await writer.insert(3);
    const { mark } = readOn(postern, START);
    await writer.insert(2);
    await writer.stop();
    expect(readdirSync(home)).toEqual(['posternproxy.db']);
    await settle();
    const look = reading(postern.source.read(request(mark)));
    expect(look).toMatchObject({ postern: 'stopped', upTo: 5, maxId: 5, more: false });
    expect(look.events.map((event) => event.sequence)).toEqual([4, 5]);
    expect(readdirSync(home)).toEqual(['posternproxy.db', 'posternproxy.db.private']);
    expect(readdirSync(`${database}.private`)).toEqual([]);
    const again = await writerAt(database).open();
    expect(await again.insert(1)).toBe(6);
    expect(reading(postern.source.read(request(mark)))).toMatchObject({ postern: 'running', upTo: 6 });
  });

  test('a stopped database is copied once per change, not at each read', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    await writer.stop();
    await settle();
    const postern = openSource(database);
    const { mark } = readOn(postern, START);
    expect(mark.id).toBe(3);
    // Without the directory no further copy could be made.
    rmSync(`${database}.private`, { recursive: true });
    writeFileSync(`${database}.private`, '');
    for (let at = 0; at < 3; at++) {
      const look = reading(postern.source.read(request(mark)));
      expect(look).toMatchObject({ postern: 'stopped', events: [], upTo: 3, maxId: 3, more: false });
    }
  });

  test('many pages of a stopped database are read from one copy', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(10);
    await writer.stop();
    await settle();
    const { source } = openSource(database);
    const first = reading(source.read(request(START, { maxRows: 4 })));
    expect(first).toMatchObject({ upTo: 4, more: true });
    const [copy = ''] = readdirSync(`${database}.private`);
    expect(statSync(join(`${database}.private`, copy)).mode & 0o777).toBe(0o700);
    reading(source.read(request(START, { after: 4, maxRows: 4 })));
    expect(readdirSync(`${database}.private`)).toEqual([copy]);
    expect(reading(source.read(request(START, { after: 8, maxRows: 4 })))).toMatchObject({
      upTo: 10,
      more: false,
    });
    expect(readdirSync(`${database}.private`)).toEqual([]);
  });

  test('rows in the WAL of a killed Postern without -shm come from the copy', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    await writer.kill();
    rmSync(`${database}-shm`);
    await settle();
    expect(reading(openSource(database).source.read(request(START)))).toMatchObject({
      postern: 'stopped',
      upTo: 3,
    });
    expect(existsSync(`${database}-shm`)).toBe(false);
  });

  test('a hot journal is rolled back in the copy, not in the original', async () => {
    const { database } = await hotJournal(directory());
    const before = statSync(`${database}-journal`);
    await settle();
    expect(reading(openSource(database).source.read(request(START)))).toMatchObject({
      postern: 'stopped',
      upTo: 2,
    });
    await settle();
    expect(reading(openSource(database).source.read(request(START)))).toMatchObject({
      postern: 'stopped',
      upTo: 2,
    });
    const after = statSync(`${database}-journal`);
    expect([after.size, after.mtimeMs]).toEqual([before.size, before.mtimeMs]);
  });

  test('a stopped database changed a moment ago is not copied yet, because timestamps could not show a write now', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(1);
    await writer.stop();
    const { source } = openSource(database);
    const lookAfterChange = () => {
      utimesSync(database, new Date(), new Date());
      return source.read(request(START));
    };
    // Again if the machine stood still between the two for longer than it takes to settle.
    await expect.poll(lookAfterChange, { timeout: 30_000 }).toMatchObject({
      state: 'stopped',
      message: 'Postern has just stopped; its last rows are about to be read',
    });
  });

  test('a stopped database with a change in the future is read: a clock that was set back delays nothing', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3);
    await writer.stop();
    const later = new Date(Date.now() + 3_600_000);
    utimesSync(database, later, later);
    await settle();
    expect(reading(openSource(database).source.read(request(START)))).toMatchObject({
      postern: 'stopped',
      upTo: 3,
    });
  });

  test('a stopped database too large to copy without shared blocks is reported, and read after its start', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(100);
    await writer.stop();
    await settle();
    const look = openSource(database, {
      maxCopy: 1_000,
      privateDirectory: '/dev/shm/postern-source',
    }).source.read(request(START));
    rmSync('/dev/shm/postern-source', { recursive: true, force: true });
    expect(look).toMatchObject({ state: 'stopped', message: /1 MiB it is too large to copy .* next start/ });
  });

  test('a full disk for the copy is reported', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(1);
    await writer.stop();
    await settle();
    writeFileSync(`${database}.private`, '');
    const look = openSource(database).source.read(request(START));
    expect(look).toMatchObject({ state: 'stopped', message: /can't be read from a copy now: E/ });
  });

  test('copies that a killed process left are removed at the start', async () => {
    const { database } = await posternIn(directory());
    mkdirSync(`${database}.private/cold-abc`, { recursive: true });
    writeFileSync(`${database}.private/cold-abc/copy.db`, 'x');
    openSource(database);
    expect(readdirSync(`${database}.private`)).toEqual([]);
  });

  test('explain finds a row in the copy', async () => {
    const { database, writer } = await posternIn(directory());
    await writer.insert(3, { action: 'delete' });
    const running = openSource(database).source.row(2, 1);
    await writer.stop();
    await settle();
    const { source } = openSource(database);
    expect(source.row(2, 1)).toMatchObject({ id: running?.id, sequence: 2, rawAction: 'delete' });
    expect(source.row(9, 1)).toBeNull();
  });
});

describe('waiting', () => {
  test('the reader waits for a directory, a file, a database, a table, then reads rows', async () => {
    const home = directory();
    const database = join(home, 'deep', 'posternproxy.db');
    const { source } = openSource(database);
    const look = () => source.read(request(START));
    expect(look()).toMatchObject({
      state: 'missing',
      message: new RegExp(`${database} is not there yet; .*source\\.database`),
    });
    mkdirSync(join(home, 'deep'));
    expect(look()).toMatchObject({ state: 'missing' });
    writeFileSync(database, '');
    expect(look()).toMatchObject({ state: 'no_table', message: /has no tables yet/ });
    const writer = await writerAt(database).open();
    await writer.exec('CREATE TABLE audit_logs (id INTEGER PRIMARY KEY)');
    expect(look()).toMatchObject({
      state: 'no_table',
      message: /no table audit_log; the nearest name is audit_logs\. Set source\.table/,
    });
    await writer.exec('CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_on TEXT, action TEXT)');
    expect(look()).toMatchObject({
      state: 'no_column',
      message: `${database}: table audit_log has no column created_at; its columns are id, created_on, action. Name the right one under source.columns.created_at`,
    });
    await writer.exec('ALTER TABLE audit_log RENAME COLUMN created_on TO created_at');
    expect(look()).toMatchObject({ state: 'reading', events: [], maxId: 0 });
  });

  test('a directory in place of the database is reported', () => {
    expect(openSource(directory()).source.read(request(START))).toMatchObject({
      state: 'not_a_database',
      message: /is not a file/,
    });
  });

  test.each(['wal', 'delete'])(
    'a file that is not a database is reported (it was one in mode %s)',
    async (mode) => {
      const { database, writer } = await posternIn(directory(), mode);
      await writer.stop();
      writeFileSync(
        database,
        'This is a text, and quite a long one, for it must be longer than a header of SQLite. '.repeat(20),
      );
      expect(openSource(database).source.read(request(START))).toMatchObject({
        state: 'not_a_database',
        message: /is not a SQLite database, or is encrypted\. Set source\.database/,
        code: 'SQLITE_NOTADB',
      });
    },
  );

  test('a damaged database is reported', async () => {
    const { database, writer } = await posternIn(directory(), 'delete');
    await writer.insert(2_000);
    await writer.stop();
    truncateSync(database, 8_192);
    expect(openSource(database).source.read(request(START))).toMatchObject({
      state: 'failed',
      message: /is damaged .* PRAGMA integrity_check/,
    });
  });

  test('an exclusive transaction is reported as a lock', async () => {
    const { database, writer } = await posternIn(directory(), 'delete');
    await writer.insert(1);
    await writer.exec('BEGIN EXCLUSIVE');
    expect(openSource(database).source.read(request(START))).toMatchObject({
      state: 'locked',
      message: /fuser -v/,
    });
  });

  test.skipIf(!root)('the exclusive locking mode of a WAL is reported', async () => {
    const home = directory();
    const { database, writer } = await posternIn(home);
    await writer.ask('close');
    await writer.ask('open', { exclusive: true });
    await writer.insert(1);
    const reader = new Reader(database, '/nonexistent', { readOnly: home });
    onTestFinished(() => reader.kill());
    expect(await reader.look()).toMatchObject({
      state: 'exclusive',
      message: expect.stringMatching(/locking_mode=EXCLUSIVE/),
    });
  });

  test('a lock is reported only after it has lasted', async () => {
    const { database, writer } = await posternIn(directory(), 'delete');
    await writer.insert(2);
    const { source } = openSource(database);
    reading(source.read(request(START)));
    await writer.exec('BEGIN EXCLUSIVE');
    expect(source.read(request(START))).toMatchObject({
      state: 'reading',
      events: [],
      upTo: 0,
      more: true,
      maxId: 2,
    });
    await sleep(3_100);
    expect(source.read(request(START))).toMatchObject({ state: 'locked' });
    await writer.exec('COMMIT');
    expect(reading(source.read(request(START))).upTo).toBe(2);
  });

  test.skipIf(!root)('a missing permission is reported with the file, its owner and its mode', async () => {
    const home = directory();
    const { database, writer } = await posternIn(home);
    await writer.insert(1);
    const reader = new Reader(database, '/nonexistent', { identity: { uid: 65_534, gid: 65_534 } });
    onTestFinished(() => reader.kill());
    expect(await reader.look()).toMatchObject({
      state: 'unreadable',
      message: /no permission to read .*posternproxy.db.*--reconfigure/,
    });
    chmodSync(home, 0o755);
    chmodSync(database, 0o640);
    expect(await reader.look()).toMatchObject({
      state: 'unreadable',
      message: /posternproxy\.db \(owner 0:0, mode 0640; this is uid 65534\)/,
    });
    chmodSync(database, 0o644);
    chmodSync(`${database}-wal`, 0o600);
    expect(await reader.look()).toMatchObject({
      state: 'unreadable',
      message: /posternproxy\.db-wal \(owner 0:0, mode 0600/,
    });
    chmodSync(`${database}-wal`, 0o644);
    chmodSync(`${database}-shm`, 0o644);
    expect(await reader.look()).toMatchObject({ state: 'reading', ids: [1] });
  });
});
