import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Eligibility, eligibilityOf, excess, mayGoEarly, momentOf } from '../../src/retention/policy.js';
import { DAY, NOW } from './retention-fixture.js';

const YEAR = 365 * DAY;
const keep = { default: YEAR, auth: 90 * DAY, user: null };
const now = momentOf(NOW, NOW);

describe('the eligibility of rows', () => {
  it.each<[string, { time: number | null; category: string }, typeof now, Eligibility]>([
    ['a row past its age', { time: NOW - YEAR - 1, category: 'stream' }, now, 'old'],
    ['a row of exactly its age stays', { time: NOW - YEAR, category: 'stream' }, now, 'young'],
    ['a category with an age of its own', { time: NOW - 91 * DAY, category: 'auth' }, now, 'old'],
    ['another category keeps the default age', { time: NOW - 91 * DAY, category: 'stream' }, now, 'young'],
    ['a category that is kept for ever', { time: Date.UTC(2001, 0, 1), category: 'user' }, now, 'forever'],
    ['a category that the catalog does not have', { time: NOW - 2 * YEAR, category: 'plugin' }, now, 'old'],
    ['a category named like a key', { time: NOW - 91 * DAY, category: 'default' }, now, 'young'],
    [
      'a category named like a JavaScript property',
      { time: NOW - 91 * DAY, category: 'constructor' },
      now,
      'young',
    ],
    ['the time of a machine whose clock was not set yet', { time: 60_000, category: 'auth' }, now, 'undated'],
    ['the first valid moment', { time: Date.UTC(2001, 0, 1), category: 'auth' }, now, 'old'],
    ['no readable time', { time: null, category: 'auth' }, now, 'undated'],
    ['not a number', { time: Number.NaN, category: 'auth' }, now, 'undated'],
    ['in the future', { time: NOW + 1, category: 'auth' }, now, 'future'],
    [
      'the clock is ahead of the newest row',
      { time: NOW - 91 * DAY, category: 'auth' },
      momentOf(NOW + YEAR, NOW - 30 * DAY),
      'young',
    ],
    [
      'the newest row is ahead of the clock',
      { time: NOW - 91 * DAY, category: 'auth' },
      momentOf(NOW, NOW + YEAR),
      'old',
    ],
    ['no row has a readable time', { time: NOW - 2 * YEAR, category: 'auth' }, momentOf(NOW, null), 'young'],
  ])('the eligibility of a row: %s', (_, row, moment, fate) => {
    expect(eligibilityOf(row, keep, moment)).toBe(fate);
  });

  it('with a default of for ever, only rows of categories with an age are deleted', () => {
    const forever = { default: null, auth: 90 * DAY };
    expect(eligibilityOf({ time: Date.UTC(2001, 0, 1), category: 'stream' }, forever, now)).toBe('young');
    expect(eligibilityOf({ time: Date.UTC(2001, 0, 1), category: 'auth' }, forever, now)).toBe('old');
  });

  it('no row is deleted that is younger than its age by the clock or by the newest row', () => {
    const time = fc.option(fc.integer({ min: 0, max: 2 * NOW }), { nil: null });
    fc.assert(
      fc.property(
        time,
        time,
        fc.integer({ min: 1, max: 2 * NOW }),
        fc.integer({ min: 1, max: NOW }),
        (row, newest, clock, age) => {
          const fate = eligibilityOf(
            { time: row, category: 'auth' },
            { default: null, auth: age },
            momentOf(clock, newest),
          );
          if (fate !== 'old') return;
          expect(clock - (row ?? Number.NaN)).toBeGreaterThan(age);
          expect((newest ?? Number.NaN) - (row ?? Number.NaN)).toBeGreaterThan(age);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('a table that is too large', () => {
  it.each<[string, { max_rows: number | null; max_size: number | null }, { rows: number; bytes: number }]>([
    ['no limits', { max_rows: null, max_size: null }, { rows: 0, bytes: 0 }],
    ['the old rows are enough', { max_rows: 95, max_size: null }, { rows: 0, bytes: 0 }],
    ['more than the old rows', { max_rows: 50, max_size: null }, { rows: 40, bytes: 0 }],
    ['by size', { max_rows: null, max_size: 8_000 }, { rows: 0, bytes: 1_000 }],
    ['by both', { max_rows: 80, max_size: 8_000 }, { rows: 10, bytes: 1_000 }],
  ])('rows above a size limit: %s', (_, limits, expected) => {
    expect(excess(limits, { rows: 100, bytes: 10_000 }, { rows: 10, bytes: 1_000 })).toEqual(expected);
  });

  it('size limits delete only rows with an age, and none less than a day old', () => {
    const moment = momentOf(NOW, NOW - 5);
    const goes = (fate: Eligibility, age: number) => mayGoEarly(fate, NOW - 5 - age, moment);
    const fates = ['old', 'young', 'forever', 'undated', 'future'] as const;
    expect(fates.filter((fate) => goes(fate, DAY))).toEqual(['young']);
    expect(goes('young', DAY - 1)).toBe(false);
    expect(mayGoEarly('young', null, moment)).toBe(false);
    expect(mayGoEarly('young', NOW - 9 * DAY, momentOf(NOW, null))).toBe(false);
  });

  it('the minimum age is a day', () => {
    const short = { default: 1 };
    const at = (age: number) =>
      eligibilityOf({ time: NOW - age, category: 'stream' }, short, momentOf(NOW, NOW));
    expect([at(DAY - 1), at(DAY)]).toEqual(['young', 'old']);
  });
});
