import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  aligned,
  createPaint,
  escapeUnsafe,
  folded,
  formatAge,
  formatBytes,
  visibleUpTo,
  wantsColour,
} from '../../../src/commands/support/terminal.js';

describe('untrusted text', () => {
  it.each([
    ['plain text and letters of any script stay', 'Jürgen 北京 жук', 'Jürgen 北京 жук'],
    ['an escape sequence', '\u001b[2J\u0007', '\\x1b[2J\\x07'],
    ['newline, CR, tab, NUL', 'a\nb\rc\td\0', 'a\\x0ab\\x0dc\\x09d\\x00'],
    ['C1, which some terminals obey', '\u009b31m', '\\x9b31m'],
    ['bidi marks', 'admin\u202egnp.exe\u2066', 'admin\\u202egnp.exe\\u2066'],
    ['what has no width', 'ad\u200bmin\ufeff\u00ad', 'ad\\u200bmin\\ufeff\\xad'],
    ['line ends of Unicode', 'a\u2028b\u2029', 'a\\u2028b\\u2029'],
    ['half surrogates', 'a\ud800b', 'a\\ud800b'],
    ['tags, which hide text', 'a\u{e0041}', 'a\\u{e0041}'],
    ['blank letters', 'a\u3164', 'a\\u3164'],
  ])('%s', (_, text, shown) => {
    expect(escapeUnsafe(text)).toBe(shown);
  });

  it('never moves the cursor, colours or reverses text, whatever it contains', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeUnsafe(text)).toMatch(
          /^[^\p{Cc}\p{Cf}\p{Cs}\ue000-\uf8ff\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]*$/u,
        );
      }),
    );
  });

  it('is cut to a length that counts the escaped characters', () => {
    expect(visibleUpTo('abc', 3)).toBe('abc');
    expect(visibleUpTo('abcd', 3)).toBe('ab…');
    expect(visibleUpTo('\u0000\u0000', 5)).toBe('\\x00…');
    expect(visibleUpTo('x'.repeat(1_000_000), 10)).toBe(`${'x'.repeat(9)}…`);
  });
});

describe('colour', () => {
  it.each([
    ['a terminal', { isTTY: true }, {}, true],
    ['a pipe', {}, {}, false],
    ['NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }, false],
    ['an empty NO_COLOR says nothing (no-color.org)', { isTTY: true }, { NO_COLOR: '' }, true],
    ['a dumb terminal', { isTTY: true }, { TERM: 'dumb' }, false],
  ])('%s', (_, stream, env, colour) => {
    expect(wantsColour(stream, env)).toBe(colour);
  });

  it('leaves text unchanged when it is off', () => {
    expect(createPaint(false).red('x')).toBe('x');
    expect(createPaint(true).red('x')).toBe('\u001b[31mx\u001b[39m');
  });
});

it('columns are aligned by their visible width, without blanks at the end', () => {
  const paint = createPaint(true);
  expect(
    aligned(
      [
        ['a', paint.red('b'), 'c'],
        ['aaa', 'bb', ''],
      ],
      ' ',
    ),
  ).toEqual([` a    ${paint.red('b')}   c`, ' aaa  bb']);
});

it.each([
  [-5, '0 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [7_200_000, '2 h'],
  [172_800_000, '2 days'],
])('%d ms is %s', (milliseconds, text) => {
  expect(formatAge(milliseconds)).toBe(text);
});

it.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [60_006, '58.6 KB'],
  [2 ** 20 - 1, '1.0 MB'],
  [1.9 * 2 ** 30, '1.9 GB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

describe('a line that is wider than the terminal', () => {
  it('is continued on the next one, with its parts kept whole', () => {
    expect(folded(['one', '', 'two two', 'x'.repeat(20)], 24)).toEqual([
      'one  two two',
      `  ${'x'.repeat(20)}`,
    ]);
    expect(folded(['a '.repeat(30).trim()], 24)).toEqual([
      'a a a a a a a a a a a a',
      '  a a a a a a a a a a a',
      '  a a a a a a a',
    ]);
    expect(folded([], 24)).toEqual([]);
  });

  it('keeps every letter and the width, whatever it contains', () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom('a', ' ', 'ü', '😀'), maxLength: 90 }));
    fc.assert(
      fc.property(words, fc.integer({ min: 20, max: 60 }), (parts, width) => {
        const lines = folded(parts, width);
        for (const line of lines) expect([...line].length).toBeLessThanOrEqual(width);
        expect(lines.join('').replaceAll(' ', '')).toBe(parts.join('').replaceAll(' ', ''));
      }),
    );
  });
});
