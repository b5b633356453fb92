import { describe, expect, it } from 'vitest';
import { mustRoll, periodStart, surplus } from '../../../src/sinks/files/rotation.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const at = (text: string): number => Date.parse(text);

describe('periodStart', () => {
  it.each([
    ['2026-11-26T00:00:00.000Z', DAY, '2026-11-26T00:00:00.000Z'],
    ['2026-11-26T23:59:59.999Z', DAY, '2026-11-26T00:00:00.000Z'],
    ['2026-10-25T01:30:00.000Z', DAY, '2026-10-25T00:00:00.000Z'], // clocks change in Europe
    ['2026-11-26T13:59:00.000Z', HOUR, '2026-11-26T13:00:00.000Z'],
    ['2026-11-26T13:59:00.000Z', 6 * HOUR, '2026-11-26T12:00:00.000Z'],
    ['2026-11-29T23:59:59.999Z', 7 * DAY, '2026-11-23T00:00:00.000Z'], // Sunday belongs to last Monday
    ['2026-11-30T00:00:00.000Z', 7 * DAY, '2026-11-30T00:00:00.000Z'],
    ['1969-12-31T23:59:59.999Z', DAY, '1969-12-31T00:00:00.000Z'],
  ])('%s in periods of %d ms began %s', (time, every, start) => {
    expect(new Date(periodStart(at(time), every)).toISOString()).toBe(start);
  });
});

describe('mustRoll', () => {
  const since = at('2026-11-26T10:00:00Z');
  const file = { size: 1_000, every: DAY, rest: 0 };
  const pair = { size: 1_000, every: null, rest: 60_000 };
  it.each([
    ['room, same day', file, { now: since + HOUR, size: 999, empty: false }, false],
    ['full', file, { now: since + HOUR, size: 1_000, empty: false }, true],
    ['full at once', file, { now: since, size: 1_000, empty: false }, true],
    ['full, but of its header alone', file, { now: since + HOUR, size: 1_000, empty: true }, false],
    [
      'the last millisecond of the day',
      file,
      { now: at('2026-11-26T23:59:59.999Z'), size: 1, empty: false },
      false,
    ],
    ['midnight', file, { now: at('2026-11-27T00:00:00Z'), size: 1, empty: false }, true],
    ['days later, empty', file, { now: since + 9 * DAY, size: 0, empty: true }, false],
    ['full within the minute', pair, { now: since + 59_999, size: 5_000, empty: false }, false],
    ['full after the minute', pair, { now: since + 60_000, size: 5_000, empty: false }, true],
    ['no period', pair, { now: since + 900 * DAY, size: 999, empty: false }, false],
  ])('%s', (_, rule, state, expected) => {
    expect(mustRoll(rule, { since, ...state })).toBe(expected);
  });
});

describe('surplus', () => {
  it.each([
    [[], 3, []],
    [[1, 2, 3], 3, []],
    [[5, 1, 10, 2], 2, [1, 2]],
    [[7, 8], 1, [7]],
  ])('of %j with %d kept is %j', (numbers, keep, expected) => {
    expect(surplus(numbers, keep)).toEqual(expected);
  });
});
