import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const ATTACKER = '203.0.113.7';
const MINUTE = 60_000;
const config: ConfigInput = {
  alerts: { new_network: { enabled: false }, change_after_alert: { enabled: false } },
};
const ONE = ['login_after_failures'];

function breakIn(rig: AlertsRig): void {
  rig.fail(5, { user: 'jan', address: ATTACKER });
  rig.login('jan', ATTACKER);
}

describe('which rows raise alerts', () => {
  it('rows of a backlog raise none, and are counted for later rows', () =>
    withAlerts(config, async (rig) => {
      await rig.stop();
      rig.db.transaction(() => {
        for (let n = 0; n < 5_000; n++) rig.row({ action: 'update', type: 'setting' });
        breakIn(rig);
      })();
      await rig.start();
      await rig.settle();
      expect(rig.actions()).toEqual([]);
      rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
      expect(rig.raised()[0]?.details.failures).toBe(5);
    }));

  it('failures from before a start are counted', () =>
    withAlerts(config, async (rig) => {
      rig.fail(5, { address: ATTACKER });
      await rig.settle();
      await rig.stop();
      await rig.start();
      rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
    }));

  it('rows that were there before the first start raise none', () =>
    withAlerts(config, async (rig) => {
      await rig.stop();
      breakIn(rig);
      await rig.startAfresh();
      await rig.settle();
      expect(rig.actions()).toEqual([]);
      rig.login('eva', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
    }));

  it('a restored database raises none, and the alert of a later row is raised once', () =>
    withAlerts(config, async (rig) => {
      breakIn(rig);
      await rig.settle();
      rig.row({ action: 'update', type: 'setting' });
      await rig.settle();
      rig.backup();
      rig.row({ action: 'update', type: 'setting' });
      await rig.settle();
      rig.pass(2_000); // a row with the id and the second of a row that was read counts as an edit of it
      rig.restore();
      rig.row({ action: 'create', type: 'stream' });
      await rig.replaced();
      expect(rig.actions()).toEqual(ONE);
      rig.login('eva', ATTACKER);
      await rig.settle();
      expect(rig.raised().map(({ user }) => user)).toEqual(['jan', 'eva']);
    }));

  it('rows that come with a restored backup raise none, however young they are', () =>
    withAlerts(config, async (rig) => {
      rig.row({ action: 'update', type: 'setting' });
      await rig.settle();
      rig.row({ action: 'update', type: 'stream' });
      breakIn(rig);
      rig.backup();
      rig.db.exec('DELETE FROM audit_log WHERE id > 1; UPDATE sqlite_sequence SET seq = 1');
      rig.pass(2_000); // a row with the id and the second of a row that was read counts as an edit of it
      rig.row({ action: 'create', type: 'stream' });
      await rig.settle();
      rig.restore();
      await rig.replaced();
      expect(rig.actions()).toEqual([]);
    }));

  it('an edit of any row of an attack raises no second alert', () =>
    withAlerts(config, async (rig) => {
      const failures = rig.fail(4, { address: ATTACKER });
      const login = rig.login('jan', ATTACKER);
      await rig.settle();
      for (const id of [...failures, login]) rig.edit(id, { details: `{"n":${id}}` });
      await rig.settle();
      rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual([]);
      rig.fail(1, { address: ATTACKER });
      const last = rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
      rig.edit(last, { details: '{"edited":true}' });
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
      expect(rig.raised()[0]?.details.failures).toBe(5);
    }));

  it('attempts that become failures and a login by edits are counted once', () =>
    withAlerts(config, async (rig) => {
      const attempts = Array.from({ length: 6 }, () =>
        rig.row({ action: 'login_attempt', user: 'jan', address: ATTACKER }),
      );
      const login = attempts.pop() ?? 0;
      await rig.settle();
      expect(rig.actions()).toEqual([]);
      for (const id of attempts) rig.edit(id, { action: 'login_failure' });
      await rig.settle();
      rig.edit(login, { action: 'login_success' });
      await rig.settle();
      expect(rig.actions()).toEqual(ONE);
      expect(rig.raised()[0]?.details.related).toEqual([...attempts, login].map((id) => `postern:${id}`));
    }));

  it('a clock that is set back by an hour raises no false alert and hides none', () =>
    withAlerts(config, async (rig) => {
      breakIn(rig);
      await rig.settle();
      rig.pass(-60 * MINUTE);
      rig.fail(4, { address: '198.51.100.9' });
      rig.login('eva', '198.51.100.9');
      rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.raised().map(({ user }) => user)).toEqual(['jan']);
      breakIn(rig);
      await rig.settle();
      expect(rig.raised().map(({ user }) => user)).toEqual(['jan', 'jan']);
    }));

  it('a clock that is set forward by an hour forgets the failures', () =>
    withAlerts(config, async (rig) => {
      rig.fail(5, { address: ATTACKER });
      await rig.settle();
      rig.pass(60 * MINUTE);
      rig.login('jan', ATTACKER);
      await rig.settle();
      expect(rig.actions()).toEqual([]);
    }));
});
