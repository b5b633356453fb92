import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withSafeKeys } from '../../src/audit/safe-keys.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { formatOcsf } from '../../src/formats/ocsf.js';
import { entryLine } from '../../src/query/entry.js';
import { readRow } from '../support/read-events.js';

/** Every leaf with its path, joined as Elasticsearch's type `flattened` does. */
function leaves(value: unknown, path: readonly string[] = []): Array<[readonly string[], unknown]> {
  if (typeof value !== 'object' || value === null) return [[path, value]];
  if (Array.isArray(value)) return value.flatMap((item) => leaves(item, path));
  return Object.entries(value).flatMap(([key, item]) => leaves(item, [...path, key]));
}

function faults(value: unknown): string[] {
  return leaves(value).flatMap(([path]) => [
    ...(Buffer.byteLength(path.join('.')) > 1_024 ? ['long'] : []),
    ...path.filter((key) => /\0|^\s*$|^\.|\.$|\.\./.test(key)),
  ]);
}

const key = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom('', ' ', '.', '..', 'a..b', '.a', 'a.', '\0', 'a\0b', '__proto__', 'app.example.org', '7'),
  fc.integer({ min: 1, max: 3_000 }).map((length) => 'k'.repeat(length)),
  fc.integer({ min: 1, max: 700 }).map((length) => 'ü'.repeat(length)),
);
const tree = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, depthSize: 'small' },
    fc.string({ maxLength: 5 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4 }),
  ),
})).value;

describe('the keys of details', () => {
  it('every receiver accepts the keys of the details, and no value is lost', () => {
    fc.assert(
      fc.property(fc.dictionary(key, tree, { maxKeys: 5 }), (details) => {
        const json = JSON.stringify(details);
        const safe = JSON.parse(withSafeKeys(json)) as Record<string, unknown>;
        expect(faults(safe)).toEqual([]);
        const isChanged = faults(JSON.parse(json)).length > 0;
        const values = (of: unknown) => leaves(of).map(([, value]) => value);
        if (isChanged) expect(safe.keys_changed).toBe(true);
        if (safe.keys_changed === true && !('keys_changed' in details)) delete safe.keys_changed;
        expect(values(safe)).toEqual(values(JSON.parse(json)));
      }),
      { numRuns: 2_000 },
    );
  });

  it('valid keys stay unchanged', () => {
    const json = JSON.stringify({
      'app.example.org': { forward_port: 8080, 'ü ü': [' . '] },
      text: 'x'.repeat(5_000),
    });
    expect(withSafeKeys(json)).toBe(json);
  });

  it('changed keys stay distinct, even from a key that a client made to look the same', () => {
    const once = JSON.parse(withSafeKeys('{"a\\u0000":1}')) as object;
    const [made = ''] = Object.keys(once);
    const both = JSON.parse(withSafeKeys(JSON.stringify({ [made]: 2, 'a\0': 1 }))) as object;
    expect(Object.values(both)).toEqual([2, 1, true]);
    expect(made).toMatch(/^a\u2400~[0-9a-f]{12}$/);
  });

  it('sixteen levels of long keys leave room for the value', () => {
    let details: unknown = 'v';
    for (let level = 0; level < 16; level++) details = { ['k'.repeat(900)]: details };
    expect(faults(JSON.parse(withSafeKeys(JSON.stringify(details))))).toEqual([]);
  });

  it('every JSON format has safe keys and the flag', () => {
    const event = readRow({
      action: 'update',
      details: JSON.stringify({ 'a\0b': 1, ['k'.repeat(2_000)]: 'v' }),
    });
    const found = [
      (JSON.parse(formatEcs(event)) as { postern: { details: object } }).postern.details,
      (JSON.parse(formatOcsf(event)) as { unmapped: { postern: { details: object } } }).unmapped.postern
        .details,
      (JSON.parse(entryLine(event)) as { details: object }).details,
    ];
    for (const details of found) {
      expect(faults(details)).toEqual([]);
      expect(Object.values(details)).toEqual([1, 'v', true]);
    }
  });
});
