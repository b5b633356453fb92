import { describe, expect, it } from 'vitest';
import { backoff } from '../../src/shipping/backoff.js';
import { rangesOf } from '../../src/shipping/id-ranges.js';

describe('back-off', () => {
  it.each([
    [1, 200],
    [2, 400],
    [5, 3_200],
    [7, 10_000],
    [10_000, 10_000],
  ])('the back-off before attempt %i is at most %i ms', (attempt, ms) => {
    expect(backoff(attempt, () => 0)).toBe(ms);
    expect(backoff(attempt, () => 1)).toBe(Math.round((ms * 2) / 3));
  });
});

describe('ranges of ids', () => {
  it.each<[number[], Array<[number, number]>]>([
    [[], []],
    [[4], [[4, 4]]],
    [
      [1, 2, 3, 7, 9, 10],
      [
        [1, 3],
        [7, 7],
        [9, 10],
      ],
    ],
  ])('the id ranges of %j', (ids, ranges) => expect(rangesOf(ids)).toEqual(ranges));
});
