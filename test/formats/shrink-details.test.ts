import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shrinkDetails } from '../../src/formats/shrink-details.js';

const bytes = (json: string) => Buffer.byteLength(json);

describe('details that are too long', () => {
  it('long details keep every member if cutting long strings is enough', () => {
    const details = JSON.stringify({ a: 'x'.repeat(5_000), b: 1, c: { d: 'é'.repeat(5_000) } });
    const shrunk = shrinkDetails(details, 700, bytes);
    expect(JSON.parse(shrunk ?? '')).toEqual({ a: 'x'.repeat(256), b: 1, c: { d: 'é'.repeat(128) } });
  });

  it('long details then lose their largest members, and the others keep their order', () => {
    const details = JSON.stringify({ a: 1, list: Array(1_000).fill(0), b: 'two', c: [3] });
    expect(shrinkDetails(details, 60, bytes)).toBe('{"a":1,"b":"two","c":[3]}');
  });

  it.each([
    ['{"a":"xxxxxxxxxxxx"}', 5],
    ['{"a":1', 100],
    ['"text"', 1],
    ['{"a":1}', 0],
  ])('nothing of %s fits in %d bytes', (details, budget) => {
    expect(shrinkDetails(details, budget, bytes)).toBeNull();
  });

  it('details nested deeper than the stack are shortened', () => {
    const deep = `{"ok":1,"deep":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(JSON.parse(shrinkDetails(deep, 500, bytes) ?? '')).toMatchObject({ ok: 1 });
  });

  it('a member called __proto__ stays a member', () => {
    const shrunk = shrinkDetails(`{"__proto__":{"admin":true},"x":"${'x'.repeat(2_000)}"}`, 400, bytes);
    expect(shrunk).toMatch(/^\{"__proto__":\{"admin":true\},/);
  });

  it('shortened details are always valid JSON of an object and within the budget', () => {
    const value = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
    fc.assert(
      fc.property(value, fc.nat(300), (object, budget) => {
        const shrunk = shrinkDetails(JSON.stringify(object), budget, bytes);
        if (shrunk === null) return;
        expect(bytes(shrunk)).toBeLessThanOrEqual(budget);
        const parsed = JSON.parse(shrunk) as Record<string, unknown>;
        for (const key of Object.keys(parsed)) expect(Object.keys(object)).toContain(key);
      }),
    );
  });
});
