import { describe, expect, it } from 'vitest';
import { assessAttack } from '../../../src/api/pages/attack-verdict.js';
import { DashboardData } from '../../../src/api/pages/dashboard-data.js';
import { StatsTally } from '../../../src/query/stats.js';

const NOTHING = new StatsTally().result(1);
const MINUTE = 60_000;

/** Counts as it is told to, by a clock that is moved by hand. */
class Counted {
  now = Date.UTC(2026, 10, 22, 20, 21);
  count: () => Promise<typeof NOTHING> = async () => NOTHING;
  private readonly overview = new DashboardData({
    queries: { stats: () => this.count() },
    bans: { list: async () => [] },
    clock: () => this.now,
  });

  async headline(): Promise<string> {
    return assessAttack(await this.overview.lastHour(), [], 5).headline;
  }
}

describe('the headline "Nobody is attacking"', () => {
  it('"Nobody is attacking" is shown only while it is known, not because it was true before', async () => {
    const counted = new Counted();
    expect(await counted.headline()).toBe('Nobody is attacking');
    counted.now += 10_000;
    counted.count = () => Promise.reject(new Error('database is locked'));
    expect(await counted.headline()).toBe('Failed logins are still being counted');
    counted.now += 1_000; // the failure itself is a few seconds old
    expect(await counted.headline()).toBe('Failed logins are still being counted');
  });

  it('"Nobody is attacking" is shown again after the next count', async () => {
    const counted = new Counted();
    counted.count = () => Promise.reject(new Error('database is locked'));
    expect(await counted.headline()).toBe('Failed logins are still being counted');
    counted.now += 10_000;
    counted.count = async () => NOTHING;
    expect(await counted.headline()).toBe('Nobody is attacking');
  });

  it('"Nobody is attacking" is shown for a count a few seconds old while the next one takes long, but not for an older one', async () => {
    const counted = new Counted();
    expect(await counted.headline()).toBe('Nobody is attacking');
    counted.count = () => new Promise(() => undefined);
    counted.now += MINUTE / 2;
    expect(await counted.headline()).toBe('Nobody is attacking');
    counted.now += MINUTE;
    expect(await counted.headline()).toBe('Failed logins are still being counted');
    counted.now -= 100 * MINUTE; // somebody set the clock
    expect(await counted.headline()).toBe('Failed logins are still being counted');
  });
});
