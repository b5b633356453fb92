import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { run } from '../commands/cli.js';
import { DaemonRig } from './daemon-fixture.js';

/** A zone without daylight saving time, so the test may run at any hour. */
const ZONE = 'Asia/Kolkata';
const wall = new Intl.DateTimeFormat('sv-SE', { timeZone: ZONE, dateStyle: 'short', timeStyle: 'medium' });

let rig: DaemonRig;
afterEach(() => rig.close());

/** A failed login, with the time that a clock in the zone shows. */
function fail(address: string, time = Date.now()): number {
  const sql =
    "INSERT INTO audit_log (created_at, action, resource_type, ip_address) VALUES (?, 'login_failed', 'auth', ?)";
  return Number(rig.db.prepare(sql).run(wall.format(time), address).lastInsertRowid);
}

const failures = () => rig.auditLines().filter(({ action }) => action === 'auth.login_failure');
const ids = (source = 'postern') =>
  failures()
    .filter((line) => line.source === source)
    .map(({ sequence, id }) => `${sequence} ${id}`);
const withheld = ({ sinks }: Awaited<ReturnType<DaemonRig['shipped']>>) =>
  sinks.auth?.figures.withheld_future_total;

function silentFindings(): Array<{ what: string; next?: string }> {
  const { out } = run(['check', '--config', rig.configPath, '--json']);
  const { sections } = JSON.parse(out) as {
    sections: Array<{ name: string; findings: Array<{ what: string; next?: string }> }>;
  };
  const findings = sections.find(({ name }) => name === 'Database')?.findings ?? [];
  return findings.filter(({ what }) => what.includes('fail2ban receives too few'));
}

describe('a Postern that writes local times', () => {
  it('failures in local time are withheld without source.time_zone, the key is named, and with it they count', {
    timeout: 300_000,
  }, async () => {
    rig = new DaemonRig();
    await rig.start();
    rig.record({ action: 'proxy_host.update' });
    await rig.shipped(); // what stands there at the start is not counted
    for (const n of [1, 2, 3]) fail(`203.0.113.${n}`);
    expect(withheld(await rig.shipped())).toBe(3);
    expect(rig.authLines()).toEqual([]);
    const [finding] = silentFindings();
    expect(finding?.what).toMatch(/ahead of this host's clock, by 5\.5 h/);
    const key = /set (source)\.(time_zone), such as (\S+);/.exec(finding?.next ?? '');
    expect(key?.[3]).toBe('Europe/Berlin');
    const before = ids();
    expect(before.length).toBe(3);

    await rig.kill('SIGTERM');
    rig.configure('', undefined, `${key?.[2]}: ${ZONE}`);
    await rig.start();
    const fresh = fail('203.0.113.9');
    await rig.until(
      () => rig.authLines().some(({ sequence }) => sequence === fresh),
      'the failure for fail2ban',
    );
    await rig.shipped();
    // The key changes the identity of no row, so none is shipped again.
    expect(ids().slice(0, 3)).toEqual(before);
    expect(ids().length).toBe(4);
    for (const n of [1, 2, 3]) fail(`203.0.113.${n}`);
    await rig.until(() => rig.authLines().some(({ sequence }) => sequence === fresh + 3), 'three more');
    expect(silentFindings()).toEqual([]);
  });

  it('an edited row has its true time, also in the table of the daemon', {
    timeout: 300_000,
  }, async () => {
    rig = new DaemonRig({ source: `time_zone: ${ZONE}` });
    await rig.start();
    const time = Math.floor(Date.now() / 1_000) * 1_000;
    const id = fail('nobody', time);
    await rig.shipped();
    rig.db.prepare("UPDATE audit_log SET ip_address = '203.0.113.7' WHERE id = ?").run(id);
    await rig.until(() => rig.authLines().length === 1, 'the failure for fail2ban');
    await rig.until(
      () => rig.auditLines().some(({ action }) => action === 'daemon.row_edited'),
      'the version',
    );
    const lines = [...rig.auditLines(), ...rig.authLines()];
    const times = lines
      .filter(({ action }) => /login_failure|row_edited/.test(action))
      .map((line) => line.time);
    expect(times).toEqual(Array(3).fill(new Date(time).toISOString()));
    await sleep(1_500);
    expect(rig.authLines().length).toBe(1);
  });
});
