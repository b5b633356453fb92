import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { run } from '../commands/cli.js';
import { DaemonRig } from './daemon-fixture.js';

let rig: DaemonRig;
let archive: string;
const cli = (...args: string[]) => run([...args, '--config', rig.configPath]);

beforeAll(() => {
  rig = new DaemonRig();
  archive = join(rig.directory, 'archive');
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y, user: forever }, archive: { directory: ${archive} } }`,
  );
});
afterAll(() => rig.close());

function insert(month: string, count: number, type = 'proxy_host'): void {
  const statement = rig.db.prepare(
    'INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, ?, ?, ?)',
  );
  for (let n = 0; n < count; n++)
    statement.run(`2020-${month}-02 03:04:05`, 'update', type, `{"n":${Math.random()}}`);
}

const fresh = () =>
  rig.db.prepare("INSERT INTO audit_log (created_at, action) VALUES (datetime('now'), 'update')").run();

function inState<T>(work: (db: Database) => T): T {
  const db = new Database(join(rig.directory, 'state', 'state.db'), { timeout: 10_000 });
  try {
    return work(db);
  } finally {
    db.close();
  }
}

/** The daemon does not look for edits of rows that it read more than a minute before the newest one. */
async function aMinuteLater(meanwhile: string): Promise<void> {
  await rig.kill('SIGTERM');
  inState((db) =>
    db.exec('UPDATE recent SET read_at = read_at - 100000 WHERE id < (SELECT max(id) FROM recent)'),
  );
  rig.db.exec(meanwhile);
  await rig.start();
  await rig.shipped();
}

const manifests = () =>
  listArchives(archive)
    .filter(({ source }) => source === 'postern')
    .map(({ month, since_delivery: since }) => [month, since] as const);

const events = () =>
  inState(
    (db) =>
      db
        .prepare("SELECT details FROM audit_log WHERE action LIKE '%rows_changed' ORDER BY id")
        .pluck()
        .all() as string[],
  ).map((text) => JSON.parse(text) as Record<string, unknown> & { archive: { sequence: number } });

it('rows that were deleted or changed between delivery and archiving are counted once, in an event and the manifest', async () => {
  insert('01', 6); // 1 to 6
  insert('02', 6); // 7 to 12
  insert('01', 3, 'user'); // 13 to 15 stay
  fresh(); // 16
  await rig.start();
  await rig.shipped();
  await sleep(1_100); // an edit within a second of the first look may count as the row itself
  rig.db.exec(`UPDATE audit_log SET details = '{"edited":"seen"}' WHERE id = 2`);
  const revisions = () => inState((db) => db.prepare('SELECT count(*) FROM revision').pluck().get());
  await expect.poll(revisions).toBe(1);
  await aMinuteLater(
    `DELETE FROM audit_log WHERE id IN (3, 9, 10); UPDATE audit_log SET ip_address = '192.0.2.1' WHERE id IN (4, 8)`,
  );
  expect(revisions()).toBe(1);
  await rig.durable(16);
  // Nine rows of Postern, and the version of the edited row, which has the same time.
  expect(cli('retain', '--now').out).toMatch(/^10 rows removed, 3 archives written/);
  const january = { compared: 5, differ: 1, missing: 1, differ_ids: [[4, 4]], missing_ids: [[3, 3]] };
  const february = { compared: 4, differ: 1, missing: 2, differ_ids: [[8, 8]], missing_ids: [[9, 10]] };
  expect(manifests()).toEqual([
    ['2020-01', january],
    ['2020-02', february],
  ]);
  expect(events()).toMatchObject([
    { source: 'postern', archive: { sequence: 1, month: '2020-01' }, ...january },
    { source: 'postern', archive: { sequence: 2, month: '2020-02' }, ...february },
  ]);
  await expect
    .poll(() => rig.output)
    .toContain('archive 1: 1 row of it differs from what was delivered, 1 row is missing since');
});

it('afterwards neither these rows nor removed ones are counted again, but a kept row that disappears is', async () => {
  insert('03', 4); // 17 to 20
  fresh();
  await rig.shipped();
  await aMinuteLater('DELETE FROM audit_log WHERE id = 14');
  await rig.durable(21);
  expect(cli('retain', '--now').out).toMatch(/^4 rows removed, 1 archive written/);
  const march = { compared: 4, differ: 0, missing: 1, differ_ids: [], missing_ids: [[14, 14]] };
  expect(manifests().at(-1)).toEqual(['2020-03', march]);
  expect(events()).toHaveLength(3);

  const verified = cli('archive', 'verify');
  expect(verified.code).toBe(0);
  expect(verified.out).toMatch(
    /archive 2 says that 1 of its rows differ .*, and that 2 up to there are missing/,
  );
});
