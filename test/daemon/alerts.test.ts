import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { DaemonRig } from './daemon-fixture.js';

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 20);

function breakIn(rig: DaemonRig, n: number): void {
  const address = `198.51.100.${n}`;
  const user = { name: `user${n}` };
  for (let at = 0; at < 5; at++) rig.record({ action: 'auth.login_failure', address });
  rig.record({ action: 'auth.login_success', address, user });
}

describe('alerts of the real daemon', { timeout: 600_000 }, () => {
  it(`${ROUNDS} break-ins, each with a kill -9 at a random moment after it: one alert for each in the audit files`, async () => {
    const rig = new DaemonRig({ extra: 'alerts: { new_network: { enabled: false } }' });
    try {
      await rig.start();
      rig.record({ action: 'setting.update' }); // rows of a table of which no row was ever read belong to a backlog
      await rig.shipped();
      for (let round = 1; round <= ROUNDS; round++) {
        breakIn(rig, round);
        await sleep(Math.random() * 60);
        await rig.kill('SIGKILL');
        await rig.start();
      }
      breakIn(rig, ROUNDS + 1);
      await rig.shipped();
      await rig.until(({ sources, sinks }) => {
        const own = sources.auditd?.maxId ?? 0;
        return own > ROUNDS + 1 && (sinks.audit?.cursors.auditd?.id ?? 0) >= own;
      }, 'all own events');
      await rig.kill('SIGTERM');
      const alerts = rig.auditLines().filter(({ action }) => action === 'alert.login_after_failures');
      const related = alerts.map(({ details }) => details?.related);
      const expected = Array.from({ length: ROUNDS + 1 }, (_, round) =>
        Array.from({ length: 6 }, (_, at) => `postern:${round * 6 + at + 2}`),
      );
      expect(related).toEqual(expected);
    } finally {
      await rig.close();
    }
  });

  it('failures before a reload count for a login after it, and the alert is raised once', async () => {
    const rig = new DaemonRig();
    try {
      await rig.start();
      rig.record({ action: 'setting.update' });
      await rig.shipped();
      for (let at = 0; at < 5; at++) rig.record({ action: 'auth.login_failure', address: '198.51.100.1' });
      await rig.shipped();
      rig.configure('alerts: { deletions: { count: 20 } }');
      await controlRequest(rig.control, 'POST', '/reload');
      for (let at = 0; at < 2; at++)
        rig.record({ action: 'auth.login_success', address: '198.51.100.1', user: { name: 'jan' } });
      await rig.shipped();
      await rig.until(
        ({ sources, sinks }) =>
          (sources.auditd?.maxId ?? 0) >= 3 &&
          (sinks.audit?.cursors.auditd?.id ?? 0) >= (sources.auditd?.maxId ?? 0),
        'the alert',
      );
      const { alerts: status } = (await rig.status()) ?? {};
      expect(status?.rules['alert.login_after_failures']).toMatchObject({
        raised_total: 1,
        last: { id: expect.stringMatching(/^auditd:\d+$/) },
      });
      await rig.kill('SIGTERM');
      const alerts = rig.auditLines().filter(({ action }) => action.startsWith('alert.'));
      expect(alerts.map(({ action }) => action)).toEqual(['alert.login_after_failures']);
    } finally {
      await rig.close();
    }
  });
});
