import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { compiled, removeCompiled } from '../support/compiled.js';
import type { Identity } from '../support/other-user.js';
import { Reader, TABLE, temporaryDirectory, Writer } from './postern-fixture.js';
import { isRoot } from './process.js';

const root = isRoot();
const POSTERN: Identity = { uid: 31_001, gid: 31_001 };
const OURS: Identity = { uid: 31_002, gid: 31_001 };
const settle = () => sleep(120);

interface Postern {
  readonly home: string;
  readonly database: string;
  readonly privateDirectory: string;
  writer: Writer;
}

function writerAt(database: string, identity: Identity | undefined): Writer {
  const writer = new Writer(database, identity);
  onTestFinished(() => writer.kill());
  return writer;
}

/** Postern with a user, a directory and a database of its own; `open` lets all others write too. */
async function posternAs(identity: Identity, mode: string, open: boolean): Promise<Postern> {
  const top = temporaryDirectory(onTestFinished);
  chmodSync(top, 0o755);
  const home = join(top, 'posternproxy');
  const privateDirectory = join(top, 'ours');
  mkdirSync(home);
  mkdirSync(privateDirectory);
  chownSync(home, identity.uid, identity.gid);
  chmodSync(home, open ? 0o777 : 0o750);
  chmodSync(privateDirectory, 0o777);
  const database = join(home, 'posternproxy.db');
  const writer = await writerAt(database, identity).open(mode);
  await writer.exec(TABLE);
  await writer.insert(5);
  return { home, database, privateDirectory, writer };
}

/** Names, owners and modes, and what the contents are of, but for `-shm`: a lock is taken in it by every reader. */
function picture(home: string): string[] {
  return readdirSync(home).map((name) => {
    const { uid, gid, mode, size } = statSync(join(home, name));
    const contents = name.endsWith('-shm')
      ? ''
      : readFileSync(join(home, name)).toString('base64').slice(0, 40);
    return `${name} ${uid}:${gid} ${mode.toString(8)} ${size} ${contents}`;
  });
}

type State = 'running' | 'killed' | 'stopped' | 'no -shm' | 'rollback journal' | 'hot journal';

async function bring(postern: Postern, state: State): Promise<void> {
  const { database, writer } = postern;
  if (state === 'stopped') await writer.stop();
  if (state === 'hot journal') {
    await writer.exec('PRAGMA cache_size = 1; BEGIN');
    await writer.insert(5_000, { together: false });
  }
  if (state === 'killed' || state === 'no -shm' || state === 'hot journal') await writer.kill();
  if (state === 'no -shm') rmSync(`${database}-shm`);
  await settle();
}

const STATES: readonly State[] = [
  'running',
  'killed',
  'stopped',
  'no -shm',
  'rollback journal',
  'hot journal',
];
const WHO: ReadonlyArray<[string, Identity | undefined]> = [
  ["Postern's own user", POSTERN],
  ['a user of its own in the group', OURS],
  ['root', undefined],
];
const MOUNTS = ['read-only', 'writable'] as const;
const cases = STATES.flatMap((state) =>
  WHO.flatMap(([who, identity]) => MOUNTS.map((mount) => ({ state, who, identity, mount }))),
);

beforeAll(() => {
  compiled();
});
afterAll(removeCompiled);

describe.skipIf(!root)('looking leaves no file, no mode, no lock behind, and Postern writes on', () => {
  test.each(cases)(
    'reading leaves no file, mode or lock behind: $state, read by $who, $mount',
    async ({ state, identity, mount }) => {
      const mode = state.endsWith('journal') ? 'delete' : 'wal';
      // The worst case: all may write in the directory, and the files are for the owner and the group to read.
      const postern = await posternAs(POSTERN, mode, mount === 'writable');
      await bring(postern, state);
      const before = picture(postern.home);
      const reader = new Reader(postern.database, postern.privateDirectory, {
        ...(identity === undefined ? {} : { identity }),
        ...(mount === 'read-only' ? { readOnly: postern.home } : {}),
      });
      onTestFinished(() => reader.kill());
      const look = await reader.look(20);
      expect(look).toMatchObject({ state: 'reading', ids: [1, 2, 3, 4, 5] });
      expect(look.postern).toBe(
        ['running', 'killed', 'rollback journal'].includes(state) ? 'running' : 'stopped',
      );
      expect(picture(postern.home)).toEqual(before);
      const living = state === 'running' || state === 'rollback journal';
      const writer = living ? postern.writer : await writerAt(postern.database, POSTERN).open(mode);
      expect(await writer.insert(1)).toBe(6);
      await reader.look(20);
      expect(await writer.insert(1)).toBe(7);
      await writer.stop();
      expect(readdirSync(postern.home)).toEqual(['posternproxy.db']);
      await settle();
      // A copy that took long is not made again at once.
      await expect.poll(() => reader.look(), { interval: 200 }).toMatchObject({ ids: [1, 2, 3, 4, 5, 6, 7] });
      expect(readdirSync(postern.home)).toEqual(['posternproxy.db']);
      expect(await (await writerAt(postern.database, POSTERN).open(mode)).insert(1)).toBe(8);
    },
  );

  test('a backup copied over the database of a stopped Postern is complete, without old rows', async () => {
    const postern = await posternAs(POSTERN, 'wal', false);
    const backup = `${postern.privateDirectory}/backup.db`;
    await postern.writer.exec(
      'CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, hex(randomblob(50)) AS x FROM n',
    );
    const reader = new Reader(postern.database, postern.privateDirectory, {
      identity: OURS,
      readOnly: postern.home,
    });
    onTestFinished(() => reader.kill());
    await reader.look(5);
    await postern.writer.exec(`VACUUM INTO '${backup}'`);
    await postern.writer.insert(500);
    await postern.writer.exec('DELETE FROM filler WHERE i % 2');
    await reader.look(50);
    await postern.writer.stop(); // a look in the very millisecond of this close would leave the -wal (SOURCE.md in docs/)
    expect(readdirSync(postern.home)).toEqual(['posternproxy.db']);
    copyFileSync(backup, postern.database);
    await reader.look(5);
    const writer = await writerAt(postern.database, POSTERN).open();
    await reader.look(5);
    expect(await writer.ask('all', { sql: 'PRAGMA integrity_check' })).toEqual([{ integrity_check: 'ok' }]);
    expect(await writer.ask('all', { sql: 'SELECT count(*) AS n FROM audit_log' })).toEqual([{ n: 5 }]);
    expect(await writer.insert(1)).toBe(6);
  });

  test('a writer without a busy timeout commits 1,000 times during continuous reads', async () => {
    const postern = await posternAs(POSTERN, 'wal', false);
    const reader = new Reader(postern.database, postern.privateDirectory, {
      identity: OURS,
      readOnly: postern.home,
    });
    onTestFinished(() => reader.kill());
    await postern.writer.exec('PRAGMA busy_timeout = 0');
    const looks = reader.look(700);
    expect(await postern.writer.insert(1_000, { together: false })).toBe(1_005);
    await looks;
    await postern.writer.stop();
  });
});
