import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LineBuffer } from '../../../src/sinks/files/line-buffer.js';

it('the line buffer keeps lines complete and in order', () => {
  const line = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', 'b', '"'), maxLength: 40 }),
    fc.string({ unit: fc.constantFrom('é', '日', '😀', 'x'), maxLength: 40 }),
    fc.nat(60_000).map((length) => 'y'.repeat(length)),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 60 }), fc.integer({ min: 1, max: 40_000 }), (given, capacity) => {
      const buffer = new LineBuffer(capacity);
      const pieces: string[] = [];
      let lines = 0;
      const flush = () => {
        pieces.push(buffer.bytes.toString('utf8'));
        lines += buffer.lines;
        buffer.clear();
      };
      for (const text of given) {
        if (buffer.add(text)) continue;
        flush();
        expect(buffer.add(text)).toBe(true);
      }
      flush();
      expect(pieces.join('')).toBe(given.map((text) => `${text}\n`).join(''));
      expect(lines).toBe(given.length);
    }),
    { numRuns: 300 },
  );
});
