import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const MINUTE = 60_000;
const ATTACKER = '203.0.113.7';
const CHANGE = 'change_after_alert';

function breakIn(rig: AlertsRig, user = 'jan'): void {
  rig.fail(5, { address: ATTACKER });
  rig.login(user, ATTACKER);
}

function change(rig: AlertsRig, user = 'jan', action = 'update', type = 'proxy_host'): number {
  return rig.row({ action, type, user, resource: '7' });
}

async function wait(rig: AlertsRig, ms: number): Promise<void> {
  await rig.settle();
  rig.pass(ms);
  await rig.settle();
}

/** Each writes its rows, and says how many changes each alert must count. */
const cases: Record<string, readonly [readonly number[], (rig: AlertsRig) => unknown, ConfigInput?]> = {
  'no change': [[], breakIn],
  'changes without an alert': [[], (rig) => [change(rig), change(rig)]],
  'three changes at once': [
    [3],
    (rig) => {
      breakIn(rig);
      for (const action of ['create', 'update', 'delete']) change(rig, 'jan', action);
    },
  ],
  'changes over the next minute': [
    [3],
    async (rig) => {
      breakIn(rig);
      for (let n = 0; n < 3; n++) {
        change(rig);
        await wait(rig, 20_000);
      }
    },
  ],
  'a change before the alert': [[], (rig) => [change(rig), breakIn(rig)]],
  'a change of another user': [[], (rig) => [breakIn(rig), change(rig, 'eva')]],
  'a change 59 minutes later': [
    [1],
    async (rig) => {
      breakIn(rig);
      await wait(rig, 59 * MINUTE);
      change(rig);
    },
  ],
  'a change 61 minutes later': [
    [],
    async (rig) => {
      breakIn(rig);
      await wait(rig, 61 * MINUTE);
      change(rig);
    },
  ],
  'changes again half an hour later': [
    [2],
    async (rig) => {
      breakIn(rig);
      change(rig);
      change(rig);
      await wait(rig, 30 * MINUTE);
      change(rig);
    },
  ],
  'another attack later': [
    [1, 2],
    async (rig) => {
      breakIn(rig);
      change(rig);
      await wait(rig, 30 * MINUTE);
      breakIn(rig);
      change(rig);
      change(rig);
    },
  ],
  'a login, a logout and a download': [
    [],
    (rig) => {
      breakIn(rig);
      rig.row({ action: 'logout', user: 'jan' });
      rig.row({ action: 'download', type: 'backup', user: 'jan' });
    },
  ],
  'a token and a new user': [
    [2],
    (rig) => {
      breakIn(rig);
      change(rig, 'jan', 'token_create', 'auth');
      change(rig, 'jan', 'create', 'user');
    },
  ],
  'changes collected for half an hour': [
    [2],
    async (rig) => {
      breakIn(rig);
      change(rig);
      await wait(rig, 20 * MINUTE);
      change(rig);
      await wait(rig, 11 * MINUTE);
    },
    { alerts: { change_after_alert: { collect: '30m' } } },
  ],
  'turned off': [
    [],
    (rig) => [breakIn(rig), change(rig)],
    { alerts: { change_after_alert: { enabled: false } } },
  ],
};

function counted(rig: AlertsRig): unknown[] {
  return rig.raised().flatMap(({ action, details }) => (action === CHANGE ? [details.changes] : []));
}

describe('changes after an alert', () => {
  it.each(Object.entries(cases))(
    'raise as many alerts as they should: %s',
    async (_, [counts, write, config = {}]) => {
      await withAlerts(config, async (rig) => {
        await write(rig);
        await wait(rig, MINUTE);
        expect(counted(rig)).toEqual(counts);
      });
    },
  );

  it('the alert names the alerts before it and the changes', () =>
    withAlerts({}, async (rig) => {
      await rig.learned();
      rig.login('jan', '192.0.2.1');
      breakIn(rig);
      const changes = [change(rig), change(rig), change(rig, 'jan', 'create', 'user')];
      await wait(rig, MINUTE);
      const [failures, network, alert, ...more] = rig.raised();
      expect(more).toEqual([]);
      expect(alert?.details).toEqual({
        changes: 3,
        actions: { 'proxy_host.update': 2, 'user.create': 1 },
        within_seconds: 3_600,
        related: [`auditd:${failures?.id}`, `auditd:${network?.id}`, ...changes.map((id) => `postern:${id}`)],
      });
    }));

  it('a change and its edits count once', () =>
    withAlerts({}, async (rig) => {
      breakIn(rig);
      const ids = Array.from({ length: 100 }, () => change(rig));
      await rig.settle();
      for (const id of ids.filter((_, at) => at % 33 === 0)) rig.edit(id, { details: '{"edited":true}' });
      await wait(rig, MINUTE);
      expect(counted(rig)).toEqual([100]);
    }));

  it('changes are counted once over a kill, and the alert follows', () =>
    withAlerts({}, async (rig) => {
      rig.row({ action: 'update', type: 'setting' });
      await rig.settle();
      breakIn(rig);
      change(rig);
      await rig.settle();
      await rig.crash();
      change(rig);
      rig.poke();
      await rig.crash();
      change(rig);
      await wait(rig, MINUTE);
      await rig.crash();
      await rig.settle();
      expect(counted(rig)).toEqual([3]);
    }));

  it('a clock that is set back does not delay the alert', () =>
    withAlerts({}, async (rig) => {
      breakIn(rig);
      change(rig);
      await wait(rig, -60 * MINUTE);
      expect(counted(rig)).toEqual([1]);
    }));

  it('changes of a backlog are not counted', () =>
    withAlerts({}, async (rig) => {
      breakIn(rig);
      await rig.settle();
      await rig.stop();
      rig.db.transaction(() => {
        for (let n = 0; n < 5_000; n++) change(rig);
      })();
      await rig.start();
      await wait(rig, MINUTE);
      expect(counted(rig)).toEqual([]);
    }));
});
