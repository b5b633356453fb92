import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realDisk } from '../../../src/sinks/files/filesystem.js';
import { linesBefore, linesFrom, type ParseLine } from '../../../src/sinks/files/read-lines.js';
import { temporaryDirectory } from './files-fixture.js';

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

/** `7:anything` is line 7. */
const parse: ParseLine = (text) => {
  const number = /^(\d+):/.exec(text)?.[1];
  return number === undefined ? null : { source: 'postern', timeline: 1, sequence: Number(number), id: text };
};

function withFile<T>(content: string | Buffer, use: (fd: number, size: number) => T): T {
  const file = path.join(directory, 'file');
  fs.writeFileSync(file, content);
  const fd = fs.openSync(file, 'r');
  try {
    return use(fd, fs.fstatSync(fd).size);
  } finally {
    fs.closeSync(fd);
  }
}

const forward = (content: string | Buffer, from = 0) =>
  withFile(content, (fd) =>
    [...linesFrom(realDisk, fd, from, parse)].map((line) => [line.position.sequence, line.end]),
  );

const backward = (content: string | Buffer, floor = 0, limit = 2 ** 30) =>
  withFile(content, (fd, size) =>
    [...linesBefore(realDisk, fd, size, floor, parse, limit)].map((line) =>
      line === null ? null : [line.position.sequence, line.end],
    ),
  );

describe('lines from an offset on', () => {
  it.each<[string, string, number, number[][]]>([
    ['none', '', 0, []],
    [
      'whole lines',
      '1:a\n2:b\n',
      0,
      [
        [1, 4],
        [2, 8],
      ],
    ],
    ['from the middle', '1:a\n2:b\n', 4, [[2, 8]]],
    ['a torn end', '1:a\n2:', 0, [[1, 4]]],
    ['up to what is no line', '1:a\nx\n3:c\n', 0, [[1, 4]]],
    ['up to a NUL', '1:a\n2:\0b\n3:c\n', 0, [[1, 4]]],
    ['up to a block of NULs', `1:a\n${'\0'.repeat(5_000)}\n3:c\n`, 0, [[1, 4]]],
    ['behind the end', '1:a\n', 100, []],
  ])('%s', (_, content, from, expected) => {
    expect(forward(content, from)).toEqual(expected);
  });
});

describe('lines before the end', () => {
  it.each<[string, string, number, Array<number[] | null>]>([
    ['none', '', 0, []],
    [
      'whole lines',
      '1:a\n2:b\n',
      0,
      [
        [2, 8],
        [1, 4],
      ],
    ],
    [
      'above a header',
      'header\n1:a\n2:b\n',
      7,
      [
        [2, 15],
        [1, 11],
      ],
    ],
    ['a torn end', '1:a\n2:', 0, [null, [1, 4]]],
    ['what is no line', '1:a\nx\n3:c\n', 0, [[3, 10], null, [1, 4]]],
    ['a block of NULs', `1:a\n${'\0'.repeat(700_000)}`, 0, [null, [1, 4]]],
  ])('%s', (_, content, floor, expected) => {
    expect(backward(content, floor)).toEqual(expected);
  });

  it('reading lines backwards stops at its limit', () => {
    const content = Array.from({ length: 100_000 }, (_, i) => `${i}:${'x'.repeat(20)}\n`).join('');
    const found = backward(content, 0, 10_000).filter((line) => line !== null);
    expect(found[0]?.[0]).toBe(99_999);
    expect(found.length).toBeLessThan(10_000 / 22);
    expect(found.length).toBeGreaterThan(300);
  });
});

it('both directions find the same lines, of any length and at any block boundary', () => {
  const line = fc.record({
    valid: fc.boolean(),
    length: fc.oneof(fc.nat(40), fc.nat(300_000), fc.constantFrom(2 ** 18, 2 ** 20)),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.boolean(), (lines, torn) => {
      const texts = lines.map(
        ({ valid, length }, i) => `${valid ? `${i}:` : '?'}${'ä'.repeat(length / 2)}\n`,
      );
      const content = texts.join('') + (torn ? '99:torn' : '');
      const back = backward(content).reverse();
      const expected = texts.map((text, i) => (text.startsWith('?') ? null : i));
      if (torn) expected.push(null);
      expect(back.map((found) => found?.[0] ?? null)).toEqual(expected);
      const firstBad = expected.indexOf(null);
      const sound = back.slice(0, firstBad < 0 ? back.length : firstBad);
      expect(forward(content)).toEqual(sound);
    }),
    { numRuns: 60 },
  );
});
