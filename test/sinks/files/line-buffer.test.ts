import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LineBuffer } from '../../../src/sinks/files/line-buffer.js';

/** Writes ASCII only, as a formatter may that leaves the rest to text. */
function ascii(text: string, into: Buffer, start: number): number {
  if (/[^ -~]/.test(text) || start + text.length > into.length) return -1;
  return start + into.write(text, start, 'latin1');
}

it('keeps lines whole and in order, whether they are added as text or as bytes', () => {
  const line = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', 'b', '"'), maxLength: 40 }),
    fc.string({ unit: fc.constantFrom('é', '日', '😀', 'x'), maxLength: 40 }),
    fc.nat(60_000).map((length) => 'y'.repeat(length)),
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(line, fc.boolean()), { maxLength: 60 }),
      fc.integer({ min: 1, max: 40_000 }),
      (given, capacity) => {
        const buffer = new LineBuffer(capacity);
        const pieces: string[] = [];
        let lines = 0;
        const flush = () => {
          pieces.push(buffer.bytes.toString('utf8'));
          lines += buffer.lines;
          buffer.clear();
        };
        for (const [text, asBytes] of given) {
          if (asBytes && buffer.write(text, ascii)) continue;
          if (buffer.add(text)) continue;
          flush();
          expect(buffer.add(text)).toBe(true);
        }
        flush();
        expect(pieces.join('')).toBe(given.map(([text]) => `${text}\n`).join(''));
        expect(lines).toBe(given.length);
      },
    ),
    { numRuns: 300 },
  );
});
