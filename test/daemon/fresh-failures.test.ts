import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import type { DaemonStatus } from '../../src/control/status.js';
import Database from '../../src/load-sqlite.js';
import { DaemonRig } from './daemon-fixture.js';

/** Enough that the daemon walks for a while; FRESH_ROWS=2000000 for the figure of the promise. */
const ROWS = Number(process.env.FRESH_ROWS ?? 120_000);

let rig: DaemonRig;

beforeEach(() => {
  rig = new DaemonRig();
});

afterEach(() => rig.close(), 60_000);

/** Rows of an hour ago and before, a failed login each third, in one commit. */
function fillOld(rows: number): void {
  rig.db.exec(`
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO audit_log (created_at, action, resource_type, ip_address, details)
    SELECT strftime('%Y-%m-%d %H:%M:%S', 'now', '-1 hour', '-' || (${rows} - i) || ' seconds'),
      iif(i % 3, 'update', 'login_failure'), iif(i % 3, 'setting', 'user'), '198.51.100.9', '{"n":' || i || '}' FROM n`);
}

const fail = (address: string): number => rig.record({ action: 'auth.login_failure', address });

/** Public ids of the rows in the pair, sorted. */
const inPair = (): string[] =>
  rig
    .authLines()
    .map(({ source, sequence }) => `${source}:${sequence}`)
    .sort((a, b) => a.localeCompare(b));

const hasLine = (id: number): boolean => {
  const needle = `"sequence":${id},`;
  return [0, 1].some((n) => {
    const path = join(rig.place, 'auth', `fail2ban.${n}.log`);
    return existsSync(path) && readFileSync(path, 'utf8').includes(needle);
  });
};

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within 120 s\n${rig.output}`);
    await sleep(10);
  }
}

const auditAt = (status: DaemonStatus | null): number => status?.sinks.audit?.cursors.postern?.id ?? 0;
const figure = (status: DaemonStatus, name: string): number => Number(status.sinks.auth?.figures[name] ?? 0);

describe('a fresh failure', () => {
  it('a fresh failure is written first at the first start on many rows; old rows below the head are not counted', {
    timeout: 300_000,
  }, async () => {
    fillOld(ROWS);
    const before = fail('203.0.113.1');
    await rig.start();
    const during = fail('203.0.113.2');
    await until(() => hasLine(during), 'the line of a failure during the first start');
    // The walk was still running, so it did not deliver the row.
    expect(auditAt(await rig.status())).toBeLessThan(during);
    const status = await rig.shipped();
    expect(inPair()).toEqual([`postern:${before}`, `postern:${during}`]);
    expect(figure(status, 'withheld_old_total')).toBe(0);
  });

  it('a fresh failure is written before many old rows above the head; these are counted, each once', {
    timeout: 300_000,
  }, async () => {
    await rig.start();
    fail('203.0.113.1');
    await rig.shipped();
    fillOld(ROWS);
    const after = fail('203.0.113.2');
    await until(() => hasLine(after), 'the line of a failure behind the bulk');
    expect(auditAt(await rig.status())).toBeLessThan(after);
    const status = await rig.shipped();
    expect(figure(status, 'withheld_old_total')).toBe(ROWS / 3);
    expect(inPair()).toEqual([`postern:1`, `postern:${after}`]);
  });

  it('a fresh failure is written before the walk of another history, and once', {
    timeout: 300_000,
  }, async () => {
    fillOld(ROWS);
    await rig.start();
    const kept = fail('203.0.113.1');
    await until(() => hasLine(kept), 'the first failure');
    const backup = rig.backup();
    const gone = fail('203.0.113.2');
    await rig.shipped();
    rig.restore(backup);
    // With the same `created_at` it would look like an edit of the deleted row.
    const second = () => Math.floor(Date.now() / 1_000);
    const before = second();
    await until(() => second() > before, 'the next second');
    const again = fail('203.0.113.3'); // at the id of the row that is gone
    expect(again).toBe(gone);
    await until(
      () => rig.authLines().filter(({ sequence }) => sequence === again).length === 2,
      'both of that id',
    );
    await rig.until(({ sources }) => sources.postern?.timeline === 2, 'another timeline');
    await rig.shipped();
    expect(inPair()).toEqual([`postern:${kept}`, `postern:${again}`, `postern:${again}`]);
  });

  it('a fresh failure is written once, even if the process is killed repeatedly', {
    timeout: 300_000,
  }, async () => {
    fillOld(20_000);
    const ids: number[] = [];
    const begin = Date.now();
    for (let round = 0; round < 8 && Date.now() - begin < 35_000; round++) {
      ids.push(fail(`203.0.113.${round}`));
      await rig.start();
      for (let n = 0; n < 3; n++) ids.push(fail(`198.51.100.${round * 3 + n}`));
      await sleep(Math.random() * 300);
      await rig.kill();
    }
    await rig.start();
    await rig.shipped();
    expect(inPair()).toEqual(ids.map((id) => `postern:${id}`).sort((a, b) => a.localeCompare(b)));
  });

  it('a fresh failure is written once after the highest id fell: the last rows deleted, another one in their place', {
    timeout: 300_000,
  }, async () => {
    await rig.start();
    const ids = [fail('203.0.113.1'), fail('203.0.113.2'), fail('203.0.113.3')];
    await rig.shipped();
    const remove = `DELETE FROM audit_log WHERE id >= ${ids[1]}; UPDATE sqlite_sequence SET seq = ${ids[0]}`;
    // In one commit, fail2ban's loop meets both before the feed has begun another timeline.
    rig.db.transaction(() => {
      rig.db.exec(remove);
      expect(fail('203.0.113.4')).toBe(ids[1]);
    })();
    await until(() => rig.authLines().length === 4, 'the row at the place of another');
    await rig.shipped();
    rig.db.exec(remove);
    await rig.until(({ sinks }) => sinks.auth?.looks?.postern?.id === ids[0], 'the fall is seen');
    expect(fail('203.0.113.5')).toBe(ids[1]);
    await until(() => rig.authLines().length === 5, 'the row after a fall that was seen');
    await rig.shipped();
    expect(inPair()).toEqual([1, 2, 2, 2, 3].map((id) => `postern:${id}`));
  });
});

describe("the cursors of fail2ban's sink", () => {
  it('old cursors of fail2ban are dropped at an upgrade, hold nothing back, and their rows are not written again', {
    timeout: 120_000,
  }, async () => {
    await rig.start();
    const ids = [fail('203.0.113.1'), fail('203.0.113.2')];
    await rig.shipped();
    await rig.kill();
    const path = join(rig.place, 'state', 'state.db');
    const old = new Database(path);
    // Cursors of 0.1.0, far behind: they would make retention keep every row.
    old.exec(`INSERT INTO cursor (sink, source, timeline, up_to) VALUES ('auth', 'postern', 1, 1), ('auth', 'auditd', 1, 0);
      INSERT INTO start (sink, source, timeline, skip_to) VALUES ('auth', 'postern', 1, 0);
      INSERT INTO sink (name, saved, first_start) VALUES ('auth', '{"v":1}', 1)`);
    old.close();
    writeFileSync(
      rig.configPath,
      readFileSync(rig.configPath, 'utf8').replace(
        'roll: { size: 64K }',
        'required: true, start: beginning, roll: { size: 64K }',
      ),
    );
    await rig.start();
    const status = await rig.shipped();
    expect(status.sinks.auth).toMatchObject({ held_from: {}, cursors: {}, required: false, lag_events: 0 });
    await until(() => rig.output.includes('sinks.auth.required has no effect'), 'the warning');
    await rig.kill();
    const now = new Database(path, { readonly: true });
    for (const [table, column] of [
      ['cursor', 'sink'],
      ['start', 'sink'],
      ['sink', 'name'],
    ])
      expect(now.prepare(`SELECT count(*) FROM "${table}" WHERE "${column}" = 'auth'`).pluck().get()).toBe(0);
    now.close();
    expect(inPair()).toEqual(ids.map((id) => `postern:${id}`));
  });

  it('a replay of the fail2ban sink is rejected: it has no cursors', { timeout: 60_000 }, async () => {
    await rig.start();
    await expect(controlRequest(rig.control, 'POST', '/replay', { sink: 'auth' })).rejects.toThrow(
      /type fail2ban: it wants the failures of the last 50 s/,
    );
  });
});
