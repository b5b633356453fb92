import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import type { RetentionStatus } from '../../src/retention/scheduler.js';
import { DaemonRig } from './daemon-fixture.js';

const ROWS = 8_000;
const DAY = 86_400_000;

it('aborts a run when another history is written into the same file, which only a read notices', async () => {
  const rig = new DaemonRig();
  onTestFinished(() => rig.close());
  const archive = join(rig.place, 'archive');
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive} } }`,
  );
  const insert = rig.db.prepare('INSERT INTO audit_log (created_at, action, details) VALUES (?, ?, ?)');
  rig.db.transaction(() => {
    for (let n = 0; n < ROWS; n++)
      insert.run(new Date(Date.now() - 400 * DAY).toISOString(), 'update', `{"n":${n}}`);
    insert.run(new Date().toISOString(), 'update', '{"n":"the newest"}');
  })();
  await rig.start();
  await rig.durable(ROWS);
  const retention = async () => (await controlRequest(rig.control, 'GET', '/retention')) as RetentionStatus;
  await controlRequest(rig.control, 'POST', '/retention/now');
  const names = () => (existsSync(archive) ? readdirSync(archive) : []);
  while (names().length === 0) await sleep(5);
  rig.db.exec('BEGIN IMMEDIATE'); // the purge waits
  while (!names().some((name) => name.endsWith('.manifest.json'))) await sleep(5);
  rig.db.exec(`DELETE FROM audit_log WHERE id > ${ROWS}; UPDATE sqlite_sequence SET seq = ${ROWS}`);
  insert.run(new Date().toISOString(), 'update', '{"n":"another"}');
  rig.db.exec('COMMIT');
  for (;;) {
    const { run } = await retention();
    if (run?.state === 'running') await sleep(10);
    else {
      expect(run).toMatchObject({ state: 'failed', error: expect.stringContaining('another history') });
      break;
    }
  }
  expect(Number(rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get())).toBeGreaterThan(1);
  // The next run reads the table again, and finishes.
  await rig.shipped();
  await rig.durable(ROWS - 1);
  await controlRequest(rig.control, 'POST', '/retention/now');
  while ((await retention()).run?.state === 'running') await sleep(20);
  expect((await retention()).run?.error).toBeNull();
  expect(rig.db.prepare('SELECT details FROM audit_log').pluck().all()).toEqual(['{"n":"another"}']);
});
