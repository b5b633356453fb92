import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTime } from '../../src/audit/time.js';

const noon = Date.UTC(2026, 10, 22, 12, 0, 0);

describe('the time of a row', () => {
  it.each<[unknown, number]>([
    ['2026-11-22 12:00:00', noon],
    ['2026-11-22 12:00:00.250', noon + 250],
    ['2026-11-22 12:00:00.123456', noon + 123],
    ['2026-11-22 12:00', noon],
    ['2026-11-22T12:00:00Z', noon],
    ['2026-11-22T13:00:00+01:00', noon],
    ['2026-11-22T13:00:00+0100', noon],
    ['2026-11-22T06:30:00.5-05:30', noon + 500],
    ['2026-11-22 12:00:00+00', noon],
    [noon / 1000, noon],
    [noon, noon],
    [noon / 1000 + 0.5, noon + 500],
    [BigInt(noon), noon],
    [String(noon / 1000), noon],
    [String(noon), noon],
    [0, 0],
    ['2024-02-29 12:00:00', Date.UTC(2024, 1, 29, 12)],
    ['2026-11-22T12:00:00', noon],
    ['2026-11-22 13:00+01', noon],
    ['2026-11-22T12:00:00,250Z', noon + 250],
    ['1970-01-01 00:00:00', 0],
    ['9999-12-31 23:59:59', 253_402_300_799_000],
    [1_700_000_000.007, 1_700_000_000_007],
    ['1700000000.25', 1_700_000_000_250],
    [99_999_999_999, 99_999_999_999_000],
    [100_000_000_000, 100_000_000_000],
    [253_402_300_799_999, 253_402_300_799_999],
    ['2026-11-22 12:00:00.123456789 +0000 UTC', noon + 123],
    ['2026-11-22 13:00:00 +0100 CET', noon],
    ['2026-11-22 13:00:00.5 +0100 CET m=+0.000012345', noon + 500],
    ['2026-11-22 15:00:00 +0300 +03 m=-1234567890.123456789', noon],
    ['2026-11-22 12:00:00 UTC', noon],
    ['2026-11-22T12:00:00.25 UTC', noon + 250],
    ['20261122T120000Z', noon],
    ['20261122T130000.5+0100', noon + 500],
    ['20261122T120000', noon],
    [noon * 1_000 + 999, noon],
    [BigInt(noon) * 1_000n + 999n, noon],
    [String(noon * 1_000), noon],
    [BigInt(noon) * 1_000_000n + 999_999n, noon],
    [String(BigInt(noon) * 1_000_000n + 999_999n), noon],
    [noon * 1_000_000, noon],
  ])('reads the time %s', (value, time) => {
    expect(parseTime(value)).toBe(time);
  });

  it.each<[unknown]>([
    ['2026-02-30 12:00:00'],
    ['2026-13-01 00:00:00'],
    ['2026-00-10 00:00:00'],
    ['2026-11-00 00:00:00'],
    ['2025-02-29 12:00:00'],
    ['2026-11-22 24:00:00'],
    ['2026-11-22 12:00:60'],
    ['2026-11-22 1a:00:00'],
    ['2026-11-22 12:00: 1'],
    ['2026-11-22\t12:00:00'],
    ['2026-11-22 12:00:00\n'],
    ['2026-11-22 12-00-00'],
    ['2026-11-22'],
    ['12026-11-22 12:00:00'],
    ['0050-11-22 12:00:00'],
    ['1969-12-31 23:59:59'],
    ['1970-01-01T00:00:00+01:00'],
    ['2026-11-22 12:00:00+01:60'],
    ['２０２６-11-22 12:00:00'],
    [`2026-11-22 12:00:00.${'0'.repeat(1_000)}`],
    [-0.0001],
    ['99999999999999999'],
    [true],
    [{}],
    ['2026-11-22 24:00:01'],
    ['2026-11-22 12:60:00'],
    ['2026-11-22 12:00:00+25:00'],
    ['22.11.2026 12:00'],
    ['yesterday'],
    [''],
    ['1e400'],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [-1],
    [1e19],
    ['10000000000000000'],
    ['100000000000000000'],
    [10n ** 17n],
    ['2026-11-22 12:00:00 CET'],
    ['2026-11-22 12:00:00 +0000 UTC m=+'],
    ['2026-11-22 12:00:00 +0000 utc'],
    ['2026-11-22 12:00:00Z UTC'],
    ['20261322T120000Z'],
    ['20261122T120060Z'],
    ['20261122 120000'],
    [null],
    [undefined],
    [Buffer.from('2026-11-22 12:00:00')],
  ])('%s is not a time', (value) => {
    expect(parseTime(value)).toBeNull();
  });

  it('reads a time in every form that it can be written in', () => {
    const times = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
    fc.assert(
      fc.property(times, (time) => {
        const iso = new Date(time).toISOString();
        expect(parseTime(iso)).toBe(time);
        expect(parseTime(iso.slice(0, 23).replace('T', ' '))).toBe(time);
        expect(parseTime(iso.slice(0, 19).replace('T', ' '))).toBe(Math.floor(time / 1000) * 1000);
      }),
    );
  });

  it('parsing a time never throws, and the result is always in range', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const time = parseTime(value);
        expect(time === null || (Number.isInteger(time) && time >= 0)).toBe(true);
      }),
    );
  });

  it('a time does not depend on the row before it', () => {
    const writes = fc.oneof(
      fc
        .integer({ min: 0, max: Date.UTC(2100, 0) })
        .map((time) => new Date(time).toISOString().slice(0, 19).replace('T', ' ')),
      fc
        .tuple(
          fc.constantFrom('2026-02-28', '2026-02-30', '2026-03-01'),
          fc.constantFrom('00:00:00', '23:59:59', '24:00:00', 'xx:00:00'),
        )
        .map((parts) => parts.join(' ')),
    );
    fc.assert(
      fc.property(fc.array(writes, { minLength: 2, maxLength: 20 }), (texts) => {
        for (const text of texts) {
          const iso = `${text.replace(' ', 'T')}.000Z`;
          const date = new Date(iso);
          const sound = !Number.isNaN(date.getTime()) && date.toISOString() === iso;
          expect(parseTime(text), text).toBe(sound ? date.getTime() : null);
        }
      }),
    );
  });
});
