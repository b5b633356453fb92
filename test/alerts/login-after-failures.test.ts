import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const ATTACKER = '203.0.113.7';
const MINUTE = 60_000;
const alone: ConfigInput = {
  alerts: { new_network: { enabled: false }, change_after_alert: { enabled: false } },
};

/** Each writes its rows, and says how many alerts there must be. */
const cases: Record<string, readonly [number, (rig: AlertsRig) => unknown, ConfigInput?]> = {
  'five failures from the address': [
    1,
    (rig) => {
      rig.fail(5, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
  ],
  'four failures from the address': [
    0,
    (rig) => {
      rig.fail(4, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
  ],
  'five failures for the user, each from another address': [
    1,
    (rig) => {
      for (let n = 1; n <= 5; n++) rig.fail(1, { user: 'jan', address: `198.51.100.${n}` });
      rig.login('jan', ATTACKER);
    },
  ],
  'failures that named the e-mail address as the user, in another case': [
    1,
    (rig) => {
      for (let n = 1; n <= 5; n++) rig.fail(1, { user: 'Jan@Example.org', address: `198.51.100.${n}` });
      rig.login('jan', ATTACKER, { email: 'jan@example.org' });
    },
  ],
  'failures for another user from other addresses': [
    0,
    (rig) => {
      for (let n = 1; n <= 9; n++) rig.fail(1, { user: 'eva', address: `198.51.100.${n}` });
      rig.login('jan', ATTACKER);
    },
  ],
  'failures from addresses of one /64': [
    1,
    (rig) => {
      for (let n = 1; n <= 5; n++) rig.fail(1, { user: `u${n}`, address: `2001:db8:0:1::${n}` });
      rig.login('jan', '2001:db8:0:1:ffff::1');
    },
  ],
  'failures from addresses of several /64': [
    0,
    (rig) => {
      for (let n = 1; n <= 5; n++) rig.fail(1, { user: `u${n}`, address: `2001:db8:0:${n}::1` });
      rig.login('jan', '2001:db8:0:1::9');
    },
  ],
  'failures without an address and without a user': [
    0,
    (rig) => {
      rig.fail(9, {});
      rig.login('jan', null);
    },
  ],
  'failures after the login': [
    0,
    (rig) => {
      rig.login('jan', ATTACKER);
      rig.fail(9, { user: 'jan', address: ATTACKER });
    },
  ],
  'failures of more than ten minutes ago': [
    0,
    async (rig) => {
      rig.fail(9, { user: 'jan', address: ATTACKER });
      await rig.settle();
      rig.pass(10 * MINUTE + 1_000);
      rig.login('jan', ATTACKER);
    },
  ],
  'failures of nine minutes ago': [
    1,
    async (rig) => {
      rig.fail(5, { user: 'jan', address: ATTACKER });
      await rig.settle();
      rig.pass(9 * MINUTE);
      rig.login('jan', ATTACKER);
    },
  ],
  'several logins in one attack': [
    1,
    async (rig) => {
      rig.fail(5, { address: ATTACKER });
      for (let n = 0; n < 3; n++) {
        rig.login('jan', ATTACKER);
        await rig.settle();
        rig.pass(2 * MINUTE);
      }
    },
  ],
  'logins of two users from the address': [
    2,
    (rig) => {
      rig.fail(5, { address: ATTACKER });
      rig.login('jan', ATTACKER);
      rig.login('eva', ATTACKER);
    },
  ],
  'another attack half an hour later': [
    2,
    async (rig) => {
      for (let n = 0; n < 2; n++) {
        rig.fail(5, { address: ATTACKER });
        rig.login('jan', ATTACKER);
        await rig.settle();
        rig.pass(30 * MINUTE);
      }
    },
  ],
  'a login whose own time is two minutes old': [
    0,
    (rig) => {
      rig.fail(9, { address: ATTACKER });
      rig.login('jan', ATTACKER, { ago: 2 * MINUTE });
    },
  ],
  'a login whose own time is in the future': [
    0,
    (rig) => {
      rig.fail(9, { address: ATTACKER });
      rig.login('jan', ATTACKER, { ago: -2 * MINUTE });
    },
  ],
  'thresholds of its own': [
    1,
    (rig) => {
      rig.fail(2, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
    { alerts: { ...alone.alerts, login_after_failures: { max_retry: 2 } } },
  ],
  'an address that never raises an alert': [
    0,
    (rig) => {
      rig.fail(9, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
    { alerts: { ...alone.alerts, never: ['203.0.113.0/24'] } },
  ],
  'turned off': [
    0,
    (rig) => {
      rig.fail(9, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
    { alerts: { ...alone.alerts, login_after_failures: { enabled: false } } },
  ],
  'on a hub, whose table has the rows of other servers': [
    0,
    (rig) => {
      rig.fail(9, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
    { ...alone, fleet: { role: 'hub', servers: ['nats://127.0.0.1:4222'] } },
  ],
  'ten thousand invented users and addresses between the failures': [
    1,
    async (rig) => {
      rig.fail(3, { address: ATTACKER });
      await rig.settle();
      rig.db.transaction(() => {
        for (let n = 0; n < 15_000; n++)
          rig.fail(1, { user: `invented${n}`, address: `10.${n >> 12}.${(n >> 4) & 255}.${n & 15}` });
      })();
      await rig.settle();
      rig.fail(2, { address: ATTACKER });
      rig.login('jan', ATTACKER);
    },
  ],
};

describe('a login after failures', () => {
  it.each(Object.entries(cases))(
    'raises as many alerts as it should: %s',
    async (_, [count, write, config = alone]) => {
      await withAlerts(config, async (rig) => {
        await write(rig);
        await rig.settle();
        expect(rig.actions()).toEqual(Array(count).fill('login_after_failures'));
      });
    },
  );

  it('the alert names the user, the address, the failures and the login, and reaches the sink', () =>
    withAlerts(alone, async (rig) => {
      const failures = rig.fail(6, { user: 'jan', address: ATTACKER });
      const login = rig.login('jan', ATTACKER);
      await rig.settle();
      const related = [...failures, login].map((id) => `postern:${id}`);
      const [alert] = rig.raised();
      expect(alert).toMatchObject({ user: 'jan', address: ATTACKER });
      expect(alert?.details).toEqual({
        failures: 6,
        failures_from_address: 6,
        failures_for_user: 6,
        find_time_seconds: 600,
        related,
      });
      const shipped = rig.sink.got.filter(({ action }) => action === 'alert.login_after_failures');
      expect(shipped).toMatchObject([{ source: 'auditd', sequence: alert?.id }]);
    }));
});
