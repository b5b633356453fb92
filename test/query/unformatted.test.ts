import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AuditEvent } from '../../src/audit/event.js';
import { csvLine } from '../../src/query/csv.js';
import { QueryEngine } from '../../src/query/engine.js';
import { entryLine, entryOf } from '../../src/query/entry.js';
import type { Format } from '../../src/query/export.js';
import { EVERYTHING } from '../../src/query/filter.js';
import { exported, SERVER, Tables, textOf } from './tables.js';

// A fault of ours, in what reads one row: rows with this resource throw at each of their texts.
const BROKEN = 'broken';

vi.mock(import('../../src/source/row-to-event.js'), async (original) => {
  const actual = await original();
  class FaultyReader extends actual.RowReader {
    override event(...given: Parameters<typeof actual.RowReader.prototype.event>): AuditEvent {
      const event = super.event(...given);
      if (event.resource.id !== BROKEN) return event;
      return Object.defineProperty(event, 'user', {
        get: () => {
          throw new Error('no such text');
        },
      });
    }
  }
  return { ...actual, RowReader: FaultyReader };
});

let tables: Tables;
let engine: QueryEngine;

beforeEach(() => {
  tables = new Tables();
  engine = new QueryEngine(tables.options());
  const rows = [
    { resource_id: '1' },
    { resource_id: BROKEN, user_name: 'eve', ip_address: '203.0.113.7', details: '{"text":"of a client"}' },
    { resource_id: '3' },
  ];
  tables.insert(rows.map((row) => ({ ...row, resource_type: 'setting' })));
});
afterEach(() => tables.remove());

const LEAST = {
  id: 'postern:2',
  created_at: '2026-11-01T00:00:00.000Z',
  user: { id: null, name: null, email: null },
  action: 'setting.update',
  resource_type: null,
  resource_id: null,
  details: { unformatted: true },
  ip_address: '203.0.113.7',
  server: SERVER,
  outcome: 'success',
};
const request = {
  filter: EVERYTHING,
  page: 1,
  limit: 10,
  cursor: null,
  count: 'some',
  timeLimit: 60_000,
} as const;
const entriesIn = (text: string) => (JSON.parse(text) as { entries: Array<{ id: string }> }).entries;

describe('an entry that can not be formatted', () => {
  it.each([null, 100])(
    'an unformatted entry has its minimal form on a page, among the others (brief %s)',
    (brief) => {
      const { entries } = engine.page({ ...request, brief });
      expect(entries.map(({ id }) => id)).toEqual(['postern:3', 'postern:2', 'postern:1']);
      expect(entries[1]).toEqual(LEAST);
    },
  );

  it.each<['page' | 'export', (format: Format) => string]>([
    ['page', (format) => textOf(engine.text(request, format).bytes)],
    ['export', (format) => exported(engine, EVERYTHING, format)],
  ])('an unformatted entry has its minimal form in the text of a %s', (_, text) => {
    expect(entriesIn(text('json'))[1]).toEqual(LEAST);
    expect(JSON.parse(text('ndjson').split('\n')[1] ?? '')).toEqual(LEAST);
    const line = text('csv').split('\r\n')[2];
    expect(line).toBe(
      `postern:2,2026-11-01T00:00:00.000Z,,,,setting.update,,,"{""unformatted"":true}",203.0.113.7,${SERVER},success`,
    );
    for (const format of ['json', 'ndjson', 'csv'] as const) expect(text(format)).not.toContain('eve');
  });

  it('an unformatted entry has its id even if nothing else is usable', () => {
    const event = { source: 'postern', sequence: 2 } as AuditEvent;
    const last = { ...LEAST, created_at: null, action: 'unknown.unformatted', ip_address: null, server: '' };
    expect(entryOf(event)).toEqual({ ...last, outcome: 'unknown' });
    expect(JSON.parse(entryLine(event))).toEqual({ ...last, outcome: 'unknown' });
    expect(csvLine(event)).toBe('postern:2,,,,,unknown.unformatted,,,"{""unformatted"":true}",,,unknown\r\n');
  });
});
