import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const HOUR = 3_600_000;
const HOME = '192.0.2.10';
const config: ConfigInput = { alerts: { login_after_failures: { enabled: false } } };

/** Logins of a user who is known at home, each from a network of its own. */
async function flood(rig: AlertsRig, count: number, user = 'jan', from = 0): Promise<number[]> {
  await rig.learned();
  rig.login(user, HOME);
  const logins = Array.from({ length: count }, (_, n) => rig.login(user, `10.${from}.${n}.1`));
  await rig.settle();
  return logins;
}

async function hourOver(rig: AlertsRig): Promise<void> {
  rig.pass(HOUR);
  rig.alerts?.tick();
  await rig.settle();
}

describe('more alerts about a user than max_per_user in an hour', () => {
  it('are counted, and one alert tells of them when the hour is over', () =>
    withAlerts(config, async (rig) => {
      const logins = await flood(rig, 30);
      await flood(rig, 1, 'eva', 1);
      expect(rig.raised().map(({ user }) => user)).toEqual([...Array(10).fill('jan'), 'eva']);
      await hourOver(rig);
      const rest = rig.raised().at(-1);
      expect(rest).toMatchObject({ action: 'new_network', user: 'jan', address: '10.0.29.1' });
      expect(rest?.details).toEqual({
        held_back: 20,
        since: expect.stringMatching(/^\d{4}-/),
        related: logins.slice(10).map((id) => `postern:${id}`),
      });
      await hourOver(rig);
      expect(rig.raised()).toHaveLength(12);
      await flood(rig, 3, 'jan', 2);
      expect(rig.raised().slice(12)).toHaveLength(3);
    }));

  it('are neither lost nor counted twice over crashes, and an edit counts once', () =>
    withAlerts({ alerts: { ...config.alerts, max_per_user: 2 } }, async (rig) => {
      const logins = await flood(rig, 5);
      await rig.crash();
      rig.edit(logins[4] ?? 0, { details: '{"n":1}' });
      await rig.settle();
      await flood(rig, 5, 'jan', 1);
      await rig.crash();
      await rig.settle();
      expect(rig.raised()).toHaveLength(2);
      await hourOver(rig);
      await rig.crash();
      await hourOver(rig);
      expect(rig.raised().map(({ details }) => details.held_back)).toEqual([undefined, undefined, 8]);
    }));

  it('are so too when they have one cause', () =>
    withAlerts(
      { alerts: { ...config.alerts, new_network: { enabled: false }, max_per_user: 2 } },
      async (rig) => {
        const series = async () => {
          for (let n = 0; n < 10; n++) rig.remove('jan');
          await rig.settle();
          rig.pass(400_000);
        };
        for (let n = 0; n < 4; n++) await series();
        expect(rig.actions()).toEqual(['deletions', 'deletions']);
        await hourOver(rig);
        expect(rig.raised().map(({ details }) => details.held_back ?? details.deletions)).toEqual([
          10, 10, 2,
        ]);
      },
    ));

  it('an edit of an entry counts once', () =>
    withAlerts(
      {
        alerts: { new_network: { enabled: false }, change_after_alert: { enabled: false }, max_per_user: 1 },
      },
      async (rig) => {
        const logins = [1, 2, 3].map((n) => {
          rig.fail(5, { address: `203.0.113.${n}` });
          return rig.login('jan', `203.0.113.${n}`);
        });
        await rig.settle();
        for (const id of logins) rig.edit(id, { details: `{"n":${id}}` });
        await rig.settle();
        await hourOver(rig);
        expect(rig.raised().map(({ details }) => details.held_back)).toEqual([undefined, 2]);
      },
    ));

  it('are in status, with what is remembered', () =>
    withAlerts(config, async (rig) => {
      expect(rig.alerts?.status()).toMatchObject({
        rules: {
          'alert.login_after_failures': { enabled: false, raised_total: 0, held_back_total: 0, last: null },
          'alert.new_network': { enabled: true, last: null },
        },
        error: null,
      });
      await flood(rig, 15);
      rig.remove('jan');
      await rig.settle();
      const { rules, remembered, networks_learned } = rig.alerts?.status() ?? {};
      expect(rules?.['alert.new_network']).toEqual({
        enabled: true,
        raised_total: 10,
        held_back_total: 5,
        last: { id: `auditd:${rig.raised().at(-1)?.id}`, at: expect.any(Number) },
      });
      // The deletion is a change after an alert, and the first of what may become many.
      expect(remembered).toEqual({ counted: 1, networks: 16, alerts: 10, changes: 1, held_back: 1 });
      expect(networks_learned).toBe(true);
      await rig.crash();
      const again = rig.alerts?.status();
      expect(again?.rules['alert.new_network']).toMatchObject({
        raised_total: 0,
        last: { id: expect.any(String) },
      });
      expect(again?.remembered).toMatchObject({ networks: 16, alerts: 10, changes: 1, held_back: 1 });
    }));

  it('status says why alerts can not be recorded', () =>
    withAlerts(config, async (rig) => {
      await flood(rig, 0);
      rig.stateDb.exec(
        `CREATE TRIGGER full BEFORE INSERT ON raised_alert BEGIN SELECT RAISE(ABORT, 'no space'); END`,
      );
      rig.login('jan', '10.9.9.9');
      for (let n = 0; n < 5; n++) rig.poke();
      rig.alerts?.tick();
      expect(rig.alerts?.status().error).toContain('no space');
      rig.stateDb.exec('DROP TRIGGER full');
      await rig.settle();
      expect(rig.alerts?.status()).toMatchObject({ error: null });
      expect(rig.actions()).toEqual(['new_network']);
    }));
});

describe('alerts.never', () => {
  const office: ConfigInput = { alerts: { never: ['192.0.2.0/24'] } };

  it('is about logins: deletions in such a network raise an alert', () =>
    withAlerts(office, async (rig) => {
      for (let n = 0; n < 10; n++) rig.remove('jan', { address: HOME });
      await rig.settle();
      expect(rig.actions()).toEqual(['deletions']);
    }));

  it('and so do changes in it after an alert about the user', () =>
    withAlerts(office, async (rig) => {
      rig.fail(5, { user: 'jan', address: '203.0.113.7' });
      rig.login('jan', '203.0.113.7');
      await rig.settle();
      rig.row({ action: 'update', type: 'setting', user: 'jan', address: HOME });
      await rig.settle();
      rig.pass(61_000);
      rig.alerts?.tick();
      await rig.settle();
      expect(rig.actions()).toEqual(['login_after_failures', 'change_after_alert']);
    }));

  it('failed logins from it do not count for a login from elsewhere, and a login from it raises nothing', () =>
    withAlerts(office, async (rig) => {
      rig.fail(9, { user: 'jan', address: HOME });
      rig.login('jan', '203.0.113.7');
      rig.fail(9, { user: 'eva', address: '203.0.113.8' });
      rig.login('eva', HOME);
      await rig.settle();
      expect(rig.actions()).toEqual([]);
    }));
});
