import { describe, expect, it } from 'vitest';
import { barsOf, ceiling, ticksOf } from '../../../src/api/pages/timeline.js';
import type { Stats } from '../../../src/query/stats.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TO = Date.UTC(2026, 10, 22, 20, 21);

function statsWith(changes: Partial<Stats>): Stats {
  const nothing = { actions: [], users: [], addresses: [], offenders: [], servers: [], hours: [], days: [] };
  return { total: 0, failures: 0, failed_logins: 0, undated: 0, ...nothing, ...changes };
}

describe('the chart', () => {
  it.each([
    ['a day', DAY, HOUR, 25],
    ['a week', 7 * DAY, 3 * HOUR, 57],
    ['30 days', 30 * DAY, 12 * HOUR, 61],
    ['a year', 365 * DAY, 7 * DAY, 53],
  ])('the chart of %s has bars of equal length, about 60 at most', (_, span, step, number) => {
    const hours = [{ name: '2026-11-22T20:00Z', count: 7, failed_logins: 5 }];
    const found = barsOf(statsWith({ hours }), TO - span, TO);
    expect(found.step).toBe(step);
    expect(Math.abs(found.bars.length - number)).toBeLessThanOrEqual(1);
    expect(found.bars.at(-1)).toMatchObject({ count: 7, failedLogins: 5 });
    expect(found.bars.reduce((sum, bar) => sum + bar.count, 0)).toBe(7);
    expect(ticksOf(found.bars, step).length).toBeLessThanOrEqual(7);
  });

  it('the chart has bars of days if there are no counts per hour', () => {
    const { bars, step } = barsOf(statsWith({ days: [{ name: '2026-11-20', count: 3 }] }), TO - 3 * DAY, TO);
    expect(step).toBe(DAY);
    expect(bars.map(({ count }) => count)).toEqual([0, 3, 0, 0]);
  });

  it.each([
    [0, 1],
    [1, 1],
    [3, 5],
    [61, 100],
    [100, 100],
    [1_001, 2_000],
  ])('the chart with the highest bar %d has the upper edge %d', (most, top) => {
    expect(ceiling(most)).toBe(top);
  });
});
