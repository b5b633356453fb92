import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const config: ConfigInput = {
  alerts: { new_network: { enabled: false }, change_after_alert: { enabled: false } },
};
const RUNS = Number(process.env.ALERT_RUNS ?? 40);

/** What a full disk does to the first write of an alert, and with it to the whole transaction. */
const FULL = `CREATE TRIGGER full BEFORE INSERT ON raised_alert BEGIN SELECT RAISE(ABORT, 'no space'); END`;

function breakIn(rig: AlertsRig, n: number): void {
  const address = `203.0.113.${n}`;
  rig.fail(5, { address });
  rig.login(`user${n}`, address);
}

/** Rows of a table of which no row was ever read belong to a backlog. */
async function readOne(rig: AlertsRig): Promise<void> {
  rig.row({ action: 'update', type: 'setting' });
  await rig.settle();
}

describe('an alert that can not be recorded at once', () => {
  it('is recorded once when that is possible again', () =>
    withAlerts(config, async (rig) => {
      await readOne(rig);
      rig.stateDb.exec(FULL);
      breakIn(rig, 1);
      for (let n = 0; n < 5; n++) {
        rig.poke();
        await sleep(5);
      }
      expect(rig.actions()).toEqual([]);
      rig.stateDb.exec('DROP TRIGGER full');
      await rig.settle();
      expect(rig.actions()).toEqual(['login_after_failures']);
    }));

  it('is derived again if the process dies before that', () =>
    withAlerts(config, async (rig) => {
      await readOne(rig);
      rig.stateDb.exec(FULL);
      breakIn(rig, 1);
      for (let n = 0; n < 5; n++) {
        rig.poke();
        await sleep(5);
      }
      await rig.crash((state) => {
        const db = new Database(join(state, 'state.db'));
        db.exec('DROP TRIGGER full');
        db.close();
      });
      await rig.settle();
      expect(rig.actions()).toEqual(['login_after_failures']);
      await rig.crash();
      await rig.settle();
      expect(rig.actions()).toEqual(['login_after_failures']);
    }));
});

type Step = 'attack' | 'read' | 'settle' | 'crash' | 'restart' | 'edit';

const step = fc.constantFrom<Step>('attack', 'attack', 'read', 'settle', 'crash', 'restart', 'edit');

async function take(rig: AlertsRig, next: Step, attacks: { count: number }): Promise<void> {
  if (next === 'attack') breakIn(rig, ++attacks.count);
  else if (next === 'read') {
    rig.poke();
    await sleep(1);
  } else if (next === 'settle') await rig.settle();
  else if (next === 'crash') await rig.crash();
  else if (next === 'edit') {
    const last = rig.db.prepare('SELECT max(id) FROM audit_log').pluck().get() as number | null;
    if (last !== null) rig.edit(last, { details: JSON.stringify({ edit: Math.random() }) });
  } else {
    await rig.stop();
    await rig.start();
  }
}

describe('alerts over the death of the process', () => {
  it('each attack has one alert, whenever the process dies', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        const attacks = { count: 0 };
        await withAlerts(config, async (rig) => {
          await readOne(rig);
          for (const next of steps) await take(rig, next, attacks);
          await rig.settle();
          const users = rig.raised().map(({ user }) => user);
          expect(users).toEqual(Array.from({ length: attacks.count }, (_, n) => `user${n + 1}`));
        });
      }),
      { numRuns: RUNS },
    );
  });
});
