import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import { ECS_VERSION, formatEcs } from '../../src/formats/ecs.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, plainEvent } from './events.js';
import { hostile } from './hostile-events.js';

interface EcsList {
  readonly version: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, readonly string[] | Readonly<Record<string, readonly string[]>>>>;
}

const list = JSON.parse(readFileSync(new URL('./fields/ecs-9.4.0.json', import.meta.url), 'utf8')) as EcsList;

const types: Readonly<Record<string, (value: unknown) => boolean>> = {
  date: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  ip: (value) => typeof value === 'string' && isIP(value) !== 0,
  long: (value) => Number.isInteger(value),
};

function isOfType(type: string, value: unknown): boolean {
  if (type.endsWith('[]'))
    return Array.isArray(value) && value.every((item) => isOfType(type.slice(0, -2), item));
  return types[type]?.(value) ?? typeof value === 'string';
}

/** The fields of a line that are not in the list of ECS. Fields under `postern` are our own. */
function faults(line: string): string[] {
  const found: string[] = [];
  const walk = (value: unknown, path: string) => {
    const type = list.fields[path];
    if (type !== undefined) {
      if (!isOfType(type, value)) found.push(`${path}: ${JSON.stringify(value)} is no ${type}`);
      const allowed = list.values[path];
      if (allowed === undefined) return;
      const words = Array.isArray(allowed) ? allowed : Object.keys(allowed);
      for (const word of [value].flat()) {
        if (!words.includes(word)) found.push(`${path}: ${String(word)} is not allowed`);
      }
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) {
        if (path !== '' || key !== 'postern') walk(member, path === '' ? key : `${path}.${key}`);
      }
    } else {
      found.push(`${path} is not of ECS`);
    }
  };
  walk(JSON.parse(line), '');
  return found;
}

describe('the ECS line', () => {
  it('ECS has the version of the published field list', () => {
    expect(ECS_VERSION).toBe(list.version);
  });

  it('outside of postern, an ECS line has only fields of ECS, with their types', () => {
    fc.assert(
      fc.property(fc.oneof(anyEvent(catalog), hostile), (event) => {
        const line = formatEcs(event);
        expect(faults(line)).toEqual([]);
        expect(line).not.toContain('"category":[]');
      }),
      { numRuns: 1_000 },
    );
  });

  it.each(catalog.map((type) => [type.action, type] as const))(
    'the ECS line of %s has a category and a type that belong together',
    (_action, type) => {
      const line = formatEcs(readBack(plainEvent, { type, action: type.action }));
      expect(faults(line)).toEqual([]);
      for (const field of [
        'created',
        'dataset',
        'module',
        'kind',
        'category',
        'type',
        'outcome',
        'id',
        'sequence',
      ])
        expect((JSON.parse(line) as { event: object }).event).toHaveProperty(field);
      const pairs = list.values['event.category'] as Readonly<Record<string, readonly string[]>>;
      const expected = type.ecs.category.flatMap((category) => pairs[category] ?? []);
      for (const word of type.ecs.type) expect(expected).toContain(word);
    },
  );
});
