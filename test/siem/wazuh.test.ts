import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { anyEvent, plainEvent } from '../formats/events.js';
import { failure } from '../sinks/files/files-fixture.js';
import { installed } from '../support/installed.js';
import { readBack } from '../support/read-events.js';
import { read, SIEM } from './recipe.js';

const python = installed('python3', 'python3');
const PARSE = 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])';

/** What Wazuh's JSON decoder makes of a line: paths, joined by dots. */
function decoded(line: string): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (value: unknown, path: string) => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) walk(member, path === '' ? key : `${path}.${key}`);
    } else found[path] = String(value);
  };
  walk(JSON.parse(line), '');
  return found;
}

interface Rule {
  readonly id: string;
  readonly parent: string | null;
  readonly fields: ReadonlyArray<readonly [string, RegExp]>;
  readonly names: readonly string[];
}

const rules: Rule[] = read('recipes/wazuh/postern-auditd-rules.xml')
  .split('<rule ')
  .slice(1)
  .map((text) => ({
    id: /id="(\d+)"/.exec(text)?.[1] ?? '',
    parent: /<if_(?:matched_)?sid>(\d+)</.exec(text)?.[1] ?? null,
    fields: [...text.matchAll(/<field name="([^"]+)">([^<]+)</g)].map(
      ([, name = '', pattern = '']) => [name, new RegExp(pattern)] as const,
    ),
    names: [
      ...[...text.matchAll(/\$\(([^)]+)\)/g)].map(([, name = '']) => name),
      ...[...text.matchAll(/<same_field>([^<]+)</g)].map(([, name = '']) => name),
    ],
  }));

/** The rules that a line fulfils, those above them too. */
function matching(line: string): string[] {
  const fields = decoded(line);
  const holds = (rule: Rule): boolean =>
    rule.fields.every(([name, pattern]) => pattern.test(fields[name] ?? '')) &&
    (rule.parent === null || rules.some((parent) => parent.id === rule.parent && holds(parent)));
  return rules.filter(holds).map(({ id }) => id);
}

interface Mapping {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Mapping>>;
}

const template = JSON.parse(read('recipes/wazuh/postern-auditd-template.json')) as {
  readonly mappings: Mapping;
};

function mappingOf(path: string): Mapping | undefined {
  return path.split('.').reduce<Mapping | undefined>((at, name) => at?.properties?.[name], template.mappings);
}

/** The objects of a line and its other members, by their path in an alert, down to those that are one field. */
function shapeOf(line: string): { objects: string[]; values: string[] } {
  const objects: string[] = [];
  const values: string[] = [];
  const walk = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) values.push(path);
    else {
      objects.push(path);
      if (mappingOf(path)?.type === 'flat_object') return;
      // Wazuh splits keys at their dots (log.level).
      for (const [key, member] of Object.entries(value)) walk(member, `${path}.${key}`);
    }
  };
  walk(JSON.parse(line), 'data');
  return { objects, values };
}

/** Members that the template maps as something else: the indexer would refuse the alert. */
function contradictions(line: string): string[] {
  const { objects, values } = shapeOf(line);
  return [
    ...values.filter(
      (path) => mappingOf(path)?.properties !== undefined || mappingOf(path)?.type === 'flat_object',
    ),
    ...objects.filter((path) => (mappingOf(path)?.type ?? 'flat_object') !== 'flat_object'),
  ];
}

/** Objects of which the template says nothing: a text of another log could be there first. */
function undecidedObjects(line: string): string[] {
  return shapeOf(line).objects.filter((path) => mappingOf(path) === undefined);
}

const of = (action: string): string => {
  const type = catalog.find((one) => one.action === action);
  if (type === undefined) throw new Error(action);
  return formatEcs(readBack(plainEvent, { type, action }));
};

describe('the recipe for Wazuh', () => {
  it.skipIf(!python).each(['postern-auditd-rules.xml', 'ossec.conf.xml'])('%s is well-formed', (name) => {
    const file = fileURLToPath(new URL(`recipes/wazuh/${name}`, SIEM));
    expect(spawnSync('python3', ['-c', PARSE, file], { encoding: 'utf8' }).stderr).toBe('');
  });

  it('has rules whose fields are those of our lines', () => {
    expect(matching(of('auth.login_failure'))).toEqual(['100500', '100501', '100510']);
    expect(matching(of('auth.login_success'))).toEqual(['100500', '100502']);
    expect(matching(of('daemon.rows_lost'))).toEqual(['100500', '100503']);
    expect(matching(of('proxy_host.create'))).toEqual(['100500']);
    expect(matching('{"event":{"action":"auth.login_failure"}}')).toEqual([]);
  });

  it('names no field that a failed login does not have', () => {
    const fields = decoded(formatEcs(failure(1)));
    for (const { names } of rules) for (const name of names) expect(Object.keys(fields)).toContain(name);
  });

  it('has a template that no line contradicts, and that says of each object of a line that it is one', () => {
    fc.assert(
      fc.property(anyEvent(catalog), (event) => {
        const line = formatEcs(event);
        expect(contradictions(line)).toEqual([]);
        expect(undecidedObjects(line)).toEqual([]);
      }),
    );
  });

  it('keeps details in one field, and is laid over the template of Wazuh', () => {
    expect(mappingOf('data.postern.details')).toEqual({ type: 'flat_object' });
    expect(template).toMatchObject({
      order: 1,
      index_patterns: ['wazuh-alerts-4.x-*', 'wazuh-archives-4.x-*'],
    });
    expect(contradictions('{"user":"root","source":{"ip":{"is":"an object"}}}')).toEqual([
      'data.user',
      'data.source.ip',
    ]);
  });

  it('has no number twice, all of them of the range for local rules', () => {
    const ids = rules.map(({ id }) => Number(id));
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toBeGreaterThanOrEqual(100_000);
  });
});
