import fc from 'fast-check';
import { expect, it } from 'vitest';
import { IsoTime } from '../../src/formats/iso-time.js';

const LIMIT = 8_640_000_000_000_000;
const anyTime = fc.oneof(
  fc.integer({ min: -LIMIT, max: LIMIT - 86_400_000 }),
  fc.integer({ min: Date.UTC(2026, 10, 22, 23, 59, 58), max: Date.UTC(2026, 10, 23, 0, 0, 2) }),
  fc.constantFrom(0, -1, 1, 999, 1_000, -86_400_000, Date.UTC(9999, 11, 31, 23, 59, 59, 999)),
);

it('an ISO time equals that of Date, in any order of times', () => {
  fc.assert(
    fc.property(fc.array(anyTime, { minLength: 1, maxLength: 20 }), (times) => {
      const iso = new IsoTime();
      for (const time of times) {
        expect(iso.milliseconds(time)).toBe(new Date(time).toISOString());
        expect(iso.seconds(time)).toBe(new Date(time).toISOString().replace(/\.\d{3}Z$/, 'Z'));
      }
    }),
  );
});
