import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { catalog } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { createFormatter, syslogFormatDefaults } from '../../src/formats/syslog-message.js';
import { anyEvent, plainEvent } from '../formats/events.js';
import ecs from '../formats/fields/ecs-9.4.0.json' with { type: 'json' };
import { parseRfc5424 } from '../formats/rfc5424-parser.js';
import { readBack } from '../support/read-events.js';
import { read } from './recipe.js';

interface Mapping {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Mapping>>;
}

interface Template {
  readonly index_patterns: readonly string[];
  readonly template: { readonly settings: Record<string, unknown>; readonly mappings: Mapping };
}

const template = JSON.parse(read('recipes/elastic/index-template.json')) as Template;

function mappingOf(path: string): Mapping | undefined {
  return path
    .split('.')
    .reduce<Mapping | undefined>((at, name) => at?.properties?.[name], template.template.mappings);
}

/** The paths of a line that no mapping names. What lies in a `flattened` field needs none. */
function unmapped(line: string): string[] {
  const found: string[] = [];
  const walk = (value: unknown, path: string) => {
    const mapping = mappingOf(path);
    if (mapping?.type === 'flattened') return;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) walk(member, path === '' ? key : `${path}.${key}`);
    } else if (mapping?.type === undefined) found.push(path);
  };
  walk(JSON.parse(line), '');
  return found;
}

describe('the recipe for Elastic', () => {
  it('keeps details in one flattened field, so that no client can make fields', () => {
    expect(mappingOf('postern.details')?.type).toBe('flattened');
    expect(template.template.mappings).toMatchObject({ dynamic: false });
  });

  it('maps every member of any line, shortened ones too', () => {
    const short = createFormatter({ ...syslogFormatDefaults, procId: null, maxMessageSize: 600 });
    fc.assert(
      fc.property(anyEvent(catalog), (event) => {
        expect(unmapped(formatEcs(event))).toEqual([]);
        expect(unmapped(parseRfc5424(short(event)).message)).toEqual([]);
      }),
    );
  });

  it('gives the fields of ECS their types', () => {
    for (const [path, type] of Object.entries(ecs.fields)) {
      const mapped = mappingOf(path)?.type;
      if (mapped !== undefined) expect([path, mapped]).toEqual([path, type.replace('[]', '')]);
    }
  });

  it('makes the id of an event that of its document', () => {
    expect(template.template.settings).toMatchObject({ 'index.default_pipeline': 'postern-audit' });
    expect(JSON.parse(read('recipes/elastic/ingest-pipeline.json'))).toMatchObject({
      processors: [
        { set: { field: '_id', copy_from: 'event.id' } },
        { set: { field: 'event.ingested', value: '{{{_ingest.timestamp}}}' } },
      ],
    });
  });

  it('lets Filebeat leave the keys of details whole', () => {
    expect(parse(read('recipes/elastic/filebeat.yml'))).toMatchObject({
      'filebeat.inputs': [{ parsers: [{ ndjson: { target: '', overwrite_keys: true } }] }],
    });
    expect(read('recipes/elastic/filebeat.yml')).not.toMatch(/^\s*expand_keys:/m);
  });

  it('lets Filebeat know a file by bytes that every first line has, with the id of its event in them', () => {
    const filebeat = parse(read('recipes/elastic/filebeat.yml')) as {
      'filebeat.inputs': [{ 'prospector.scanner.fingerprint': { length: number } }];
      'output.elasticsearch': { index: string };
    };
    const { length } = filebeat['filebeat.inputs'][0]['prospector.scanner.fingerprint'];
    const bare = {
      user: { id: null, name: null, email: null },
      resource: { type: null, id: null },
      server: '',
    };
    for (const type of catalog) {
      const least = formatEcs(
        readBack(plainEvent, { ...bare, type, address: null, details: null, sequence: 1, rawAction: '' }),
      );
      const most = formatEcs(readBack(plainEvent, { type, sequence: Number.MAX_SAFE_INTEGER }));
      expect(Buffer.byteLength(least)).toBeGreaterThanOrEqual(length);
      expect(most.indexOf(plainEvent.id) + 32).toBeLessThanOrEqual(length);
    }
    expect(template.index_patterns).toEqual(['logs-postern.audit-*']);
    expect(filebeat['output.elasticsearch'].index).toBe('logs-postern.audit-default');
  });
});
