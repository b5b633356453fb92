import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCanonicalJson } from '../../src/audit/round-trip-json.js';

const DEEPEST = 16;

/** The property that the quick check stands for: parsing and writing give the same text. */
function comesBack(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject && JSON.stringify(value) === text;
  } catch {
    return false;
  }
}

const piece = fc.constantFrom(
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '"a"',
    '"b"',
    '"ab"',
    '"1"',
    '"a1"',
    '""',
    '{"a":',
    '{"b":1',
    ',"a":',
  ],
  ...['0', '1', '-', '-0', '-1', '01', '1.5', '1e3', '9007199254740993', '123456789012345', '.', 'e', '+'],
  ...[
    'true',
    'false',
    'null',
    'tru',
    'nullx',
    ' ',
    '\n',
    '\t',
    '\\',
    '\\n',
    '\\u0061',
    'é',
    '\u2028',
    '\u0000',
  ],
  ...['\ud800', '\udc00', '😀', '__proto__', '\ufeff', 'x'],
);

describe('canonical JSON', () => {
  it('canonical JSON is equal after parsing and writing, whatever its structure', () => {
    let yes = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        for (const text of [pieces.join(''), `{${pieces.join('')}}`, `{"k":[${pieces.join('')}]}`]) {
          if (!isCanonicalJson(text, DEEPEST)) continue;
          yes++;
          expect(comesBack(text), text).toBe(true);
        }
      }),
      { numRuns: 5_000 },
    );
    expect(yes).toBeGreaterThan(20);
  });

  it('text that counts as canonical is equal after parsing and writing, also with a character added, removed or replaced', () => {
    const value = fc.dictionary(
      fc.string({ maxLength: 4 }),
      fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }),
    );
    fc.assert(
      fc.property(
        value,
        fc.nat(),
        fc.nat(2),
        fc.oneof(piece, fc.string({ maxLength: 1 })),
        (object, at, cut, more) => {
          const json = JSON.stringify(object);
          const place = at % json.length;
          const text = json.slice(0, place) + more + json.slice(place + cut);
          for (const candidate of [json, text]) {
            if (isCanonicalJson(candidate, DEEPEST)) expect(comesBack(candidate), candidate).toBe(true);
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });
});

describe('a change as Postern writes it', () => {
  const word = fc.stringMatching(/^[A-Za-z_ .é\u2028-][\w .:/é-]{0,12}$/);
  const scalar = fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null), fc.constant(''));
  const change = fc.dictionary(
    word,
    fc.oneof(scalar, fc.array(scalar, { maxLength: 5 }), fc.dictionary(word, scalar, { maxKeys: 5 })),
    { maxKeys: 10 },
  );

  it('recognises a change as Postern writes it', () => {
    fc.assert(
      fc.property(change, (object) => {
        const text = JSON.stringify(object);
        fc.pre(!text.includes('-0') && !text.includes('\\'));
        expect(isCanonicalJson(text, DEEPEST), text).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['a second key of the same name', '{"a":1,"b":2,"a":3}'],
    ['the same at a deeper level', '{"x":[{"a":1,"a":2}]}'],
    ['white space', '{"a": 1}'],
    ['a key that JavaScript puts first', '{"b":1,"1":2}'],
    ['a big number', '{"a":9223372036854775807}'],
    ['minus zero', '{"a":-0}'],
    ['a fraction', '{"a":1.50}'],
    ['an escape', '{"\\u0061":1}'],
    ['half a surrogate pair', '{"a":"\ud800"}'],
    ['a control character', '{"a":"\n"}'],
    ['text after the object', '{"a":1}{}'],
    ['a list', '[{"a":1}]'],
    ['a word', '"a"'],
    ['nothing', ''],
    ['a truncated text', '{"a":"b'],
    ['33 keys', JSON.stringify(Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`k${n}`, n])))],
  ])('is not canonical JSON: %s', (_, text) => {
    expect(isCanonicalJson(text, DEEPEST)).toBe(false);
  });

  it('rejects JSON with too many levels', () => {
    const nested = (levels: number) => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`;
    expect(isCanonicalJson(nested(DEEPEST), DEEPEST)).toBe(true);
    expect(isCanonicalJson(nested(DEEPEST + 1), DEEPEST)).toBe(false);
    expect(isCanonicalJson(`{"a":${'['.repeat(15)}${']'.repeat(15)}}`, DEEPEST)).toBe(true);
    expect(isCanonicalJson(`{"a":${'['.repeat(16)}${']'.repeat(16)}}`, DEEPEST)).toBe(false);
    expect(isCanonicalJson('{"a":'.repeat(100_000), DEEPEST)).toBe(false);
  });

  it('detects a repeated key among 32 keys at every level', () => {
    const wide = (inner: string) =>
      `{${Array.from({ length: 31 }, (_, n) => `"k${n}":${n}`).join(',')},"deep":${inner}}`;
    let text = '{}';
    for (let level = 0; level < DEEPEST - 1; level++) text = wide(text);
    expect(comesBack(text)).toBe(true);
    expect(isCanonicalJson(text, DEEPEST)).toBe(true);
    expect(isCanonicalJson(text.replace('"k0":0,"k1":1', '"k1":0,"k1":1'), DEEPEST)).toBe(false);
  });
});
