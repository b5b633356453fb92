import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeRow, type SqlValue } from '../../src/source/event-id.js';

const NO_DEFAULTS: readonly unknown[] = Array.from({ length: 11 }, () => undefined);
const encode = (row: readonly SqlValue[], defaults = NO_DEFAULTS, bytes: Buffer | null = null) =>
  encodeRow('source', row, defaults, () => bytes);

/** Values made of the encoding's own signs. */
const value: fc.Arbitrary<SqlValue> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: fc.constantFrom(';', ':', '1', '2', 't', 'i', 'n', 'b', 'r', 'x'), maxLength: 9 }),
  fc.bigInt({ min: -20n, max: 20n }),
  fc.constantFrom(1, 0, -1, 1.5, Number.POSITIVE_INFINITY),
  fc.uint8Array({ maxLength: 2 }).map((bytes) => Buffer.from(bytes)),
);
const row = fc.tuple(fc.constant(1n), ...Array.from({ length: 4 }, () => value));

describe('the encoding of a row', () => {
  test('two different rows never have the same encoding', () => {
    fc.assert(
      fc.property(row, row, (a, b) => {
        const same = a.every((one, at) => {
          const other = b[at];
          return Buffer.isBuffer(one) ? Buffer.isBuffer(other) && one.equals(other) : one === other;
        });
        expect(encode(a) === encode(b)).toBe(same);
      }),
      {
        numRuns: 3_000,
        examples: [
          [
            [1n, ';2t0:', null, null, null],
            [1n, '', '', null, null],
          ],
        ],
      },
    );
  });

  test("text can't imitate other columns", () => {
    const forged = '1'.padEnd(9, ';2t1:b');
    expect(encode([1n, forged, null])).not.toBe(encode([1n, '1', 'b']));
    expect(encode([1n, 'a;2t1:b', null])).not.toBe(encode([1n, 'a', 'b']));
    expect(encode([1n, 'a;2tb', null])).not.toBe(encode([1n, 'a', 'b']));
  });

  test.each<[SqlValue, SqlValue]>([
    [1n, 1],
    [1n, '1'],
    [1, '1'],
    ['', null],
    [Buffer.from('a'), 'a'],
    [Buffer.alloc(0), ''],
    [9_007_199_254_740_992n, 9_007_199_254_740_993n],
    [0, -0],
  ])('%o is not encoded like %o', (a, b) => {
    expect(encode([1n, a])).not.toBe(encode([1n, b]));
  });

  test('NULL and the constant default of a column change nothing, NULL beside a default does', () => {
    const defaults = [undefined, undefined, 'local'];
    const without = encode([1n, 'a', null]);
    expect(encode([1n, 'a', 'local'], defaults)).toBe(without);
    expect(encode([1n, 'a', null], defaults)).not.toBe(without);
    expect(encode([1n, 'a', 'x'], defaults)).toBe(encode([1n, 'a', 'x']));
  });

  test('bytes that are not UTF-8 are encoded unchanged, and a stored U+FFFD as text', () => {
    const row = [1n, '\ufffd'] as const;
    const other = encode(row, NO_DEFAULTS, Buffer.from([0xff]));
    expect(other).not.toBe(encode(row, NO_DEFAULTS, Buffer.from([0xfe])));
    expect(other).not.toBe(encode(row, NO_DEFAULTS, Buffer.from('\ufffd')));
    expect(encode(row, NO_DEFAULTS, Buffer.from('\ufffd'))).toBe('source:1;1t1:\ufffd');
  });

  test('long text is encoded like short text', () => {
    expect(encode([1n, 'x'.repeat(511)])).toBe(`source:1;1t511:${'x'.repeat(511)}`);
    expect(encode([1n, 'x'.repeat(512)])).toBe(`source:1;1t512:${'x'.repeat(512)}`);
  });
});
