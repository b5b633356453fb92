import { expect, it } from 'vitest';
import { groupedDigits } from '../src/grouped-digits.js';

it.each([0, 7, 999, 1_000, 12_345, 123_456, 1_234_567, 9_007_199_254_740_991, -5, -1_000, -999_999])(
  '%d is grouped as Intl groups it',
  (integer) => {
    expect(groupedDigits(integer)).toBe(integer.toLocaleString('en'));
  },
);
