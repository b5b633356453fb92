import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DaemonRig, type Line } from './daemon-fixture.js';

const ROUNDS = Math.ceil(Number(process.env.KILL_ROUNDS ?? 36) / 6);
/** Edited rows are younger than this: the daemon checks rows that it read in the last minute. */
const YOUNG_MS = 30_000;

let rig: DaemonRig;
beforeEach(() => {
  rig = new DaemonRig();
});
afterEach(() => rig.close());

function insert(action: string, n: string): number {
  return rig.record({ action, address: '203.0.113.7', user: { name: 'eve' }, details: { n } });
}

function update(id: number, n: string, action?: string): void {
  rig.db
    .prepare('UPDATE audit_log SET details = ?, action = coalesce(?, action) WHERE id = ?')
    .run(JSON.stringify({ n }), action ?? null, id);
}

const contents = (lines: readonly Line[]) => lines.map(({ details }) => details?.n);

describe('a program that writes its rows in two phases', () => {
  it('counts each failure once if its details are added 200 ms later, and begins no other history', async () => {
    await rig.start();
    for (let row = 0; row < 5; row++) {
      const id = insert('auth.login_failure', `first ${row}`);
      await sleep(200);
      update(id, `second ${row}`);
      await rig.until(
        () => contents(rig.auditLines()).includes(`second ${row}`),
        'the second phase in the audit files',
      );
    }
    const { sources } = await rig.shipped();
    expect(sources.postern?.timeline).toBe(1);
    expect(rig.authLines().length).toBe(5);
    const lines = rig.auditLines().filter(({ details }) => details?.n !== undefined);
    expect(new Set(contents(lines)).size).toBe(10);
    expect(lines.length).toBe(10);
    expect(lines.filter(({ action }) => action === 'daemon.row_edited').length).toBe(5);
  });

  it('an attempt that becomes a failure after newer rows reaches fail2ban and the audit files', async () => {
    await rig.start();
    const ids = Array.from({ length: 20 }, (_, at) => insert('daemon.start', `attempt ${at}`));
    await rig.shipped();
    for (const [at, id] of ids.entries()) update(id, `failure ${at}`, 'auth.login_failure');
    await rig.until(() => rig.authLines().length >= 20, 'the failures for fail2ban');
    await rig.shipped();
    const failures = rig.auditLines().filter(({ action }) => action === 'auth.login_failure');
    expect(contents(failures)).toEqual(ids.map((_, at) => `failure ${at}`));
    await sleep(2_000);
    expect(rig.authLines().length).toBe(20);
  });
});

it('a failure whose address is added later counts once from then on, also across a kill -9', async () => {
  await rig.start();
  const id = rig.record({ action: 'auth.login_failure', user: { name: 'eve' }, details: { n: 'first' } });
  rig.record({ action: 'proxy_host.update' });
  await rig.shipped();
  rig.db.prepare('UPDATE audit_log SET ip_address = ? WHERE id = ?').run('203.0.113.9', id);
  await rig.until(() => rig.authLines().length === 1, 'the failure for fail2ban');
  await rig.until(() => rig.auditLines().some(({ action }) => action === 'daemon.row_edited'), 'the version');
  await rig.kill('SIGKILL');
  await rig.start();
  update(id, 'second');
  await rig.until(() => contents(rig.auditLines()).includes('second'), 'the next version');
  await rig.shipped();
  await sleep(1_500);
  expect(rig.authLines().length).toBe(1);
});

describe('kill -9 while rows are edited', () => {
  it(`${ROUNDS} times: each version that was at rest is in the audit files once`, async () => {
    const rows = new Map<number, { n: string; born: number }>();
    const rested = new Set<string>();
    let count = 0;
    const rest = () =>
      rig.until(() => {
        const found = new Set(contents(rig.auditLines()));
        return [...rows.values()].every(({ n }) => found.has(n));
      }, 'the newest version of each row');
    for (let round = 0; round < ROUNDS; round++) {
      await rig.start();
      const until = Date.now() + Math.random() * 2_000;
      while (Date.now() < until) {
        const n = `${++count}`;
        const young = [...rows].filter(([, { born }]) => Date.now() - born < YOUNG_MS).map(([id]) => id);
        const id = young[Math.floor(Math.random() * young.length * 2)];
        if (id === undefined) rows.set(insert('proxy_host.update', n), { n, born: Date.now() });
        else {
          update(id, n);
          rows.set(id, { n, born: rows.get(id)?.born ?? 0 });
        }
        await sleep(Math.random() * 60);
      }
      if (round % 2 === 0) {
        await rest();
        for (const { n } of rows.values()) rested.add(n);
      }
      await rig.kill('SIGKILL');
    }
    await rig.start();
    await rest();
    await rig.kill('SIGTERM');
    const lines = rig.auditLines();
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
    const found = contents(lines).filter((n) => n !== undefined);
    expect(found.length).toBe(new Set(found).size);
    for (const n of rested) expect(found).toContain(n);
    expect((await rig.status())?.sources.postern?.timeline ?? 1).toBe(1);
  });
});
