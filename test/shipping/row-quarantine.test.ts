import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ConfigInput, config } from '../../src/config/schema.js';
import { openRowNotes } from '../../src/shipping/row-quarantine.js';
import { State } from '../../src/shipping/state.js';
import { plainEvent } from '../formats/events.js';

const made: string[] = [];

vi.mock(import('../../src/formats/otlp-protobuf.js'), async (original) => {
  const { createOtlpProtobuf, ...rest } = await original();
  return { ...rest, createOtlpProtobuf: (most) => noting('protobuf', createOtlpProtobuf(most)) };
});
vi.mock(import('../../src/formats/otlp-json.js'), async (original) => {
  const { createOtlpJson, ...rest } = await original();
  return { ...rest, createOtlpJson: (most) => noting('json', createOtlpJson(most)) };
});

function noting<T extends { format: (event: never) => unknown }>(name: string, encoder: T): T {
  const { format } = encoder;
  const noted = (event: never) => {
    made.push(name);
    return format(event);
  };
  return { ...encoder, format: Object.assign(noted, format) };
}

describe('a row is formatted once as the sinks will, before they do', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-notes-'));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it.each<[string, NonNullable<ConfigInput['sinks']>, string[]]>([
    [
      'OTLP in protobuf',
      { otel: { type: 'http', protocol: 'otlp', url: 'https://a.example/v1/logs' } },
      ['protobuf'],
    ],
    [
      'OTLP in JSON',
      { otel: { type: 'http', protocol: 'otlp', url: 'https://a.example/v1/logs', encoding: 'json' } },
      ['json'],
    ],
    [
      'neither, where no sink uses it',
      {
        es: { type: 'http', protocol: 'elasticsearch', url: 'https://a.example/x/_bulk' },
        audit: { type: 'file' },
      },
      [],
    ],
  ])('%s', (_, sinks, expected) => {
    const state = new State(directory);
    try {
      const notes = openRowNotes(state, () => config.parse({ sinks }));
      made.length = 0;
      notes.rehearse(plainEvent);
      expect(made).toEqual(expected);
      notes.close();
    } finally {
      state.close();
    }
  });
});
