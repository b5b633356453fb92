import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable, printableJson } from '../../src/formats/escape-unprintable.js';
import { cutEscaped, cutUtf8, fitsUtf8 } from '../../src/formats/utf8.js';
import { carriedJson, controlCharacters } from './events.js';

const anyText = fc.string({ unit: 'binary' });

describe('cutting UTF-8', () => {
  it.each([
    ['abc', 3, 'abc'],
    ['abc', 2, 'ab'],
    ['aé', 2, 'a'],
    ['日本', 5, '日'],
    ['😀😀', 7, '😀'],
    ['😀', 3, ''],
    ['abc', 0, ''],
    ['abc', -5, ''],
  ])('cuts %j at %d bytes to %j', (text, bytes, expected) => {
    expect(cutUtf8(text, bytes)).toBe(expected);
  });

  it('a cut text is the longest beginning that fits, in whole characters', () => {
    fc.assert(
      fc.property(anyText, fc.nat(60), (text, bytes) => {
        const cut = cutUtf8(text, bytes);
        expect(text.startsWith(cut)).toBe(true);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(bytes);
        expect(Buffer.from(cut).toString()).toBe(cut);
        const next = [...text.slice(cut.length)][0];
        if (next !== undefined) expect(Buffer.byteLength(cut + next)).toBeGreaterThan(bytes);
      }),
    );
  });

  it('finds whether a text fits, without counting if its length decides', () => {
    fc.assert(
      fc.property(anyText, fc.nat(60), (text, bytes) => {
        expect(fitsUtf8(text, bytes)).toBe(Buffer.byteLength(text) <= bytes);
      }),
    );
  });

  it.each([
    ['ab\\=c', 3, 'ab'],
    ['ab\\=c', 4, 'ab\\='],
    ['a\\\\b', 3, 'a\\\\'],
    ['a\\\\b', 2, 'a'],
    ['a\\\\\\=', 4, 'a\\\\'],
    ['a\\u005eb', 5, 'a'],
    ['a\\u005eb', 7, 'a\\u005e'],
    ['a\\\\u00b', 6, 'a\\\\u00'],
  ])('cuts the escaped %j at %d bytes to %j', (text, bytes, expected) => {
    expect(cutEscaped(text, bytes)).toBe(expected);
  });
});

describe('text without control characters', () => {
  it.each([
    ['a\tb', 'a\u2409b'],
    ['a\u0000b\u007f', 'a\u2400b\u2421'],
    ['a\u0085b', 'a\ufffdb'],
    ['a\u2028b', 'a\u2424b'],
    ['\ufeffa', '\ufffda'],
    ['日本 é', '日本 é'],
  ])('replaces the control characters of %j: %j', (text, expected) => {
    expect(printable(text)).toBe(expected);
  });

  it('JSON shows an escaped NUL as its picture, and keeps text that only looks like one', () => {
    const json = JSON.stringify({ 'a\u0000b': ['\\u0000', '\\\u0000', '\u0000\u0000'] });
    expect(JSON.parse(printableJson(json))).toEqual({ 'a\u2400b': ['\\u0000', '\\\u2400', '\u2400\u2400'] });
  });

  it('JSON without control characters has the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), anyText, (value, text) => {
        const json = printableJson(JSON.stringify({ value, text }));
        expect(json).not.toMatch(controlCharacters);
        expect(JSON.parse(json)).toEqual(carriedJson(JSON.stringify({ value, text })));
      }),
    );
  });
});
