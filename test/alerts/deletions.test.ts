import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const MINUTE = 60_000;

/** Each writes its rows, and says how many alerts there must be. */
const cases: Record<string, readonly [number, (rig: AlertsRig) => unknown, ConfigInput?]> = {
  'ten deletions by one user': [1, (rig) => repeat(10, () => rig.remove('jan'))],
  'nine deletions': [0, (rig) => repeat(9, () => rig.remove('jan'))],
  'thirty deletions': [1, (rig) => repeat(30, () => rig.remove('jan'))],
  'ten deletions by two users': [0, (rig) => repeat(5, () => [rig.remove('jan'), rig.remove('eva')])],
  'ten deletions without a user': [
    0,
    (rig) => repeat(10, () => rig.row({ action: 'delete', type: 'stream' })),
  ],
  'ten changes': [0, (rig) => repeat(10, () => rig.row({ action: 'update', type: 'stream', user: 'jan' }))],
  'deletions of several kinds': [
    1,
    (rig) => {
      for (const type of ['stream', 'certificate', 'access_list', 'user', 'dead_host'])
        repeat(2, () => rig.remove('jan', { type }));
    },
  ],
  'ten deletions in an hour': [
    0,
    async (rig) => {
      for (let n = 0; n < 10; n++) {
        rig.remove('jan');
        await rig.settle();
        rig.pass(6 * MINUTE);
      }
    },
  ],
  'two series of deletions in an hour': [
    2,
    async (rig) => {
      for (let n = 0; n < 2; n++) {
        repeat(12, () => rig.remove('jan'));
        await rig.settle();
        rig.pass(30 * MINUTE);
      }
    },
  ],
  'a threshold of its own': [
    1,
    (rig) => repeat(3, () => rig.remove('jan')),
    { alerts: { deletions: { count: 3 } } },
  ],
  'turned off': [
    0,
    (rig) => repeat(20, () => rig.remove('jan')),
    { alerts: { deletions: { enabled: false } } },
  ],
};

function repeat(count: number, work: () => unknown): void {
  for (let n = 0; n < count; n++) work();
}

describe('many deletions', () => {
  it.each(Object.entries(cases))(
    'raise as many alerts as they should: %s',
    async (_, [count, write, config = {}]) => {
      await withAlerts(config, async (rig) => {
        await write(rig);
        await rig.settle();
        expect(rig.actions()).toEqual(Array(count).fill('deletions'));
      });
    },
  );

  it('the alert names the deletions', () =>
    withAlerts({}, async (rig) => {
      const ids = Array.from({ length: 10 }, () => rig.remove('jan', { address: '192.0.2.1' }));
      await rig.settle();
      const [alert] = rig.raised();
      expect(alert).toMatchObject({ user: 'jan', address: '192.0.2.1' });
      expect(alert?.details).toEqual({
        deletions: 10,
        within_seconds: 300,
        related: ids.map((id) => `postern:${id}`),
      });
    }));
});
