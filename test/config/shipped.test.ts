import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';
import { parseConfig } from '../../src/config/load.js';
import { expectGenerated } from './generated.js';
import { reference, sections } from './reference.js';

const FILE = 'config/config.yml';
const text = readFileSync(FILE, 'utf8');

/** Every key name in the schema, at any level. */
function names(schema: JsonSchema): string[] {
  const inner = Object.entries(schema.properties ?? {}).flatMap(([name, member]) => [name, ...names(member)]);
  const more = typeof schema.additionalProperties === 'object' ? names(schema.additionalProperties) : [];
  return [...inner, ...more, ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap(names)];
}

/** A commented example without its comment signs, from its first line to the next empty one. */
function uncommented(first: RegExp): string {
  const lines = text.split('\n');
  const from = lines.findIndex((line) => first.test(line));
  const to = lines.findIndex((line, at) => at > from && !/^\s*#/.test(line));
  return lines.map((line, at) => (at >= from && at < to ? line.replace('# ', '') : line)).join('\n');
}

describe('the shipped config.yml', () => {
  it('the shipped config.yml has exactly the defaults', () => {
    expect(parseConfig(text, FILE)).toEqual(parseConfig('', FILE));
  });

  it('the shipped config.yml names every key', () => {
    const missing = names(jsonSchema()).filter((name) => !new RegExp(`(^|[\\s{#])${name}:`, 'm').test(text));
    expect(missing).toEqual([]);
  });

  it('the examples in config.yml are valid when they are uncommented', () => {
    expect(parseConfig(uncommented(/# siem:/), FILE).sinks.siem).toMatchObject({ type: 'syslog' });
    expect(parseConfig(uncommented(/# otel:/), FILE).sinks.otel).toMatchObject({ type: 'http' });
    expect(parseConfig(uncommented(/# phone:/), FILE).sinks.phone).toMatchObject({ type: 'webhook' });
    expect(parseConfig(uncommented(/# stream:/), FILE).sinks.stream).toMatchObject({ type: 'jetstream' });
    expect(parseConfig(uncommented(/# events:/), FILE).sinks.audit?.events).toMatchObject({
      outcome: ['failure'],
    });
    expect(parseConfig(uncommented(/# server:/), FILE).server).toBe('gateway-1');
  });

  it('the first line of config.yml names the schema for editors', () => {
    expect(text.split('\n')[0]).toBe(
      '# yaml-language-server: $schema=/opt/postern-auditd/config/config.schema.json',
    );
  });

  it('the lines of config.yml are readable', () => {
    expect(text.split('\n').filter((line) => line.length > 150)).toEqual([]);
  });
});

describe('text generated from the schema', () => {
  it('the JSON Schema for editors is up to date', () => {
    const { $schema, ...rest } = jsonSchema() as JsonSchema & { $schema?: string };
    const head = { $schema, title: 'Configuration of postern-auditd' };
    const plain = JSON.stringify(
      { ...head, ...rest },
      (key, value: unknown) => (key === 'unit' ? undefined : value),
      2,
    );
    expectGenerated('config/config.schema.json', null, `${plain}\n`);
  });

  it('the reference in docs/reference/CONFIGURATION.md is up to date', () => {
    expectGenerated('docs/reference/CONFIGURATION.md', 'reference', reference());
  });

  it('the schema describes every key', () => {
    const silent = sections().flatMap(({ title, entries }) =>
      entries.filter(({ schema }) => schema.description === undefined).map(({ key }) => `${title} ${key}`),
    );
    expect(silent).toEqual([]);
  });
});
