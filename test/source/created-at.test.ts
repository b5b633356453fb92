import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTime } from '../../src/audit/time.js';
import { TimeZone } from '../../src/audit/time-zone.js';
import { CreatedReader } from '../../src/source/created-at.js';

const two = (highest: number) =>
  fc.integer({ min: 0, max: highest }).map((number) => String(number).padStart(2, '0'));
const near = fc
  .tuple(
    fc.constantFrom(
      '2026-11-22',
      '2026-11-23',
      '2026-02-30',
      '1970-01-01',
      '1969-12-31',
      '2026-03-29',
      '2026-11-01',
      'abcd-ef-gh',
    ),
    fc.constantFrom(' ', ' ', 'T'),
    two(25),
    two(61),
    two(61),
    fc.constantFrom(':', ':', ':', '-'),
  )
  .map(([day, gap, hours, minutes, seconds, colon]) => `${day}${gap}${hours}${colon}${minutes}:${seconds}`);

describe('created_at of successive rows', () => {
  test.each(['UTC', 'Europe/Berlin', 'America/New_York'])(
    'created_at of each row equals the result of the whole parser, in %s',
    (timeZone) => {
      fc.assert(
        fc.property(
          fc.array(fc.oneof({ weight: 9, arbitrary: near }, fc.string({ minLength: 19, maxLength: 19 })), {
            maxLength: 40,
          }),
          (texts) => {
            const reader = new CreatedReader(timeZone);
            const zone = TimeZone.of(timeZone);
            for (const text of texts) expect(reader.read(text)).toBe(parseTime(text, zone));
          },
        ),
        { numRuns: 2_000 },
      );
    },
  );
});
