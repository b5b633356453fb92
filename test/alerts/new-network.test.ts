import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const MINUTE = 60_000;
const DAY = 86_400_000;
const HOME = '192.0.2.10';
const AWAY = '203.0.113.7';

/** Each writes its rows, and says how many alerts there must be. */
const cases: Record<string, readonly [number, (rig: AlertsRig) => unknown, ConfigInput?]> = {
  'the first login of a user ever': [0, (rig) => rig.login('jan', AWAY)],
  'a login from another network': [1, (rig) => [rig.login('jan', HOME), rig.login('jan', AWAY)]],
  'a login from the same /24': [0, (rig) => [rig.login('jan', HOME), rig.login('jan', '192.0.2.99')]],
  'a login from the same /48': [
    0,
    (rig) => [rig.login('jan', '2001:db8:1:1::1'), rig.login('jan', '2001:db8:1:ffff::1')],
  ],
  'a login from another /48': [
    1,
    (rig) => [rig.login('jan', '2001:db8:1:1::1'), rig.login('jan', '2001:db8:2:1::1')],
  ],
  'another user from a network of the first': [
    1,
    (rig) => [rig.login('jan', HOME), rig.login('eva', AWAY), rig.login('jan', AWAY)],
  ],
  'several logins from the new network': [
    1,
    (rig) => [rig.login('jan', HOME), ...[1, 2, 3].map((n) => rig.login('jan', `203.0.113.${n}`))],
  ],
  'a failed login from another network': [
    0,
    (rig) => [rig.login('jan', HOME), rig.row({ action: 'login_failure', user: 'jan', address: AWAY })],
  ],
  'a login without an address': [0, (rig) => [rig.login('jan', HOME), rig.login('jan', null)]],
  'a user who is known by number, under another name': [
    0,
    (rig) => [rig.login('jan', HOME, { userId: 7 }), rig.login('johanna', HOME, { userId: 7 })],
  ],
  'a known network after 80 days': [
    0,
    async (rig) => {
      rig.login('jan', HOME);
      await rig.settle();
      rig.pass(80 * DAY);
      rig.login('jan', HOME);
    },
  ],
  'a network that was not seen for 91 days': [
    1,
    async (rig) => {
      rig.login('jan', HOME);
      await rig.settle();
      rig.pass(91 * DAY);
      rig.login('jan', HOME);
    },
  ],
  'a network that is used each month': [
    0,
    async (rig) => {
      for (let month = 0; month < 8; month++) {
        rig.login('jan', HOME);
        await rig.settle();
        rig.pass(30 * DAY);
      }
    },
  ],
  'a memory of its own': [
    1,
    async (rig) => {
      rig.login('jan', HOME);
      await rig.settle();
      rig.pass(3 * DAY);
      rig.login('jan', HOME);
    },
    { alerts: { new_network: { memory: '1d' } } },
  ],
  'a network that never raises an alert': [
    0,
    (rig) => [rig.login('jan', HOME), rig.login('jan', AWAY)],
    { alerts: { never: ['203.0.113.0/24'] } },
  ],
  'turned off': [
    0,
    (rig) => [rig.login('jan', HOME), rig.login('jan', AWAY)],
    { alerts: { new_network: { enabled: false } } },
  ],
};

describe('a login from a new network', () => {
  it.each(Object.entries(cases))(
    'raises as many alerts as it should: %s',
    async (_, [count, write, config = {}]) => {
      await withAlerts(config, async (rig) => {
        await rig.learned();
        await write(rig);
        await rig.settle();
        expect(rig.actions()).toEqual(Array(count).fill('new_network'));
      });
    },
  );

  it('the alert names the login and the network', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      const login = rig.login('jan', AWAY);
      await rig.settle();
      const [alert] = rig.raised();
      expect(alert).toMatchObject({ user: 'jan', address: AWAY });
      expect(alert?.details).toEqual({
        network: '203.0.113.0/24',
        memory_days: 90,
        related: [`postern:${login}`],
      });
    }));

  it('at the first start, networks are learned from the table without an alert, also over a crash', () =>
    withAlerts({}, async (rig) => {
      await rig.stop();
      rig.db.transaction(() => {
        rig.login('eva', HOME, { ago: 100 * DAY });
        for (let n = 0; n < 5_000; n++) rig.login(`user${n % 50}`, `10.0.${n % 50}.1`, { ago: 80 * DAY - n });
        rig.login('jan', HOME, { ago: 10 * DAY });
      })();
      await rig.startAfresh();
      rig.alerts?.tick();
      await rig.crash();
      await rig.learned();
      expect(rig.actions()).toEqual([]);
      rig.login('jan', HOME);
      rig.login('user7', '10.0.7.200');
      rig.login('eva', AWAY); // her only login was too long ago
      await rig.settle();
      expect(rig.actions()).toEqual([]);
      rig.login('jan', AWAY);
      await rig.settle();
      expect(rig.raised().map(({ user }) => user)).toEqual(['jan']);
    }));

  it('the first start reads the table once: networks are learned as rows are first read', () =>
    withAlerts({}, async (rig) => {
      await rig.stop();
      rig.db.transaction(() => {
        for (let n = 0; n < 3_000; n++) rig.login('jan', HOME, { ago: 80 * DAY - n });
      })();
      rig.readsBackwards = 0;
      await rig.startAfresh();
      await rig.learned();
      await rig.settle();
      expect(rig.readsBackwards).toBeLessThanOrEqual(1); // the newest rows, which are watched for edits
      rig.login('jan', AWAY);
      rig.login('jan', HOME);
      await rig.settle();
      expect(rig.actions()).toEqual(['new_network']);
    }));

  it('an upgrade from a build without alerts learns the rows that were read before it', () =>
    withAlerts({}, async (rig) => {
      rig.login('jan', HOME);
      await rig.settle();
      await rig.crash((directory) => {
        const db = new Database(join(directory, 'state.db'));
        db.exec("DELETE FROM known_network; DELETE FROM meta WHERE key = 'alert_networks_learned'");
        db.close();
      });
      await rig.learned();
      expect(rig.readsBackwards).toBeGreaterThan(0);
      rig.login('jan', AWAY);
      rig.login('jan', HOME);
      await rig.settle();
      expect(rig.actions()).toEqual(['new_network']);
    }));

  it('logins of a backlog are learned without an alert', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      await rig.settle();
      await rig.stop();
      rig.db.transaction(() => {
        for (let n = 0; n < 5_000; n++) rig.row({ action: 'update', type: 'setting', ago: 10 * MINUTE });
        rig.login('jan', AWAY, { ago: 5 * MINUTE });
        rig.login('jan', '198.51.100.1');
      })();
      await rig.start();
      await rig.settle();
      rig.login('jan', AWAY);
      rig.login('jan', '198.51.100.2');
      await rig.settle();
      expect(rig.actions()).toEqual([]);
    }));

  it('what is known survives a kill, and one alert of a network is raised', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      await rig.settle();
      await rig.crash();
      rig.login('jan', AWAY);
      await rig.settle();
      await rig.crash();
      rig.login('jan', AWAY);
      rig.login('jan', HOME);
      await rig.settle();
      expect(rig.actions()).toEqual(['new_network']);
    }));

  it('an attempt that becomes a login by an edit counts, also after a restart', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      const attempt = rig.row({ action: 'login_attempt', user: 'jan', address: AWAY });
      await rig.settle();
      await rig.stop();
      await rig.start();
      rig.edit(attempt, { action: 'login_success' });
      await rig.settle();
      expect(rig.actions()).toEqual(['new_network']);
      rig.edit(attempt, { details: '{"edited":true}' });
      await rig.settle();
      expect(rig.actions()).toEqual(['new_network']);
    }));

  it('logins while the alert was turned off are learned when it is turned on again', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      await rig.settle();
      await rig.stop();
      await rig.start({ alerts: { new_network: { enabled: false } } });
      rig.login('jan', AWAY);
      await rig.settle();
      await rig.stop();
      await rig.start({});
      await rig.learned();
      rig.login('jan', AWAY);
      await rig.settle();
      expect(rig.actions()).toEqual([]);
    }));

  it('a user of very many networks does not fill the state', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', HOME);
      await rig.settle();
      rig.db.transaction(() => {
        for (let n = 0; n < 3_000; n++) rig.login('jan', `10.${n >> 8}.${n & 255}.1`);
      })();
      await rig.settle();
      expect(rig.raised().length).toBe(10); // of an hour
      rig.pass(DAY); // once a day what is too much is removed
      rig.alerts?.tick();
      const kept = rig.stateDb.prepare('SELECT count(*) FROM known_network').pluck().get();
      expect(kept).toBe(1_000);
    }));
});
