import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier, type EventType } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { createFormatter, type SyslogFormatOptions } from '../../src/formats/syslog-message.js';
import { readBack } from '../support/read-events.js';
import { plainEvent } from './events.js';
import { ocsfFaults } from './ocsf-schema.js';

// UPDATE_GOLDEN=1 rewrites the files. Read the difference before committing it.
const update = process.env.UPDATE_GOLDEN === '1';
const directory = new URL('./golden/', import.meta.url);

const base: SyslogFormatOptions = {
  format: 'ecs',
  envelope: 'rfc5424',
  facility: 'authpriv',
  appName: 'postern-auditd',
  procId: '4711',
  structuredDataId: null,
  bom: false,
  maxMessageSize: 8_192,
  zone: 'utc',
  version: '1.2.3',
};

const files: Readonly<Record<string, SyslogFormatOptions>> = {
  'rfc5424-ecs': base,
  'rfc5424-cef': { ...base, format: 'cef' },
  'rfc5424-leef': { ...base, format: 'leef' },
  'rfc5424-ocsf': { ...base, format: 'ocsf' },
  'rfc5424-text': { ...base, format: 'text', structuredDataId: 'audit@32473' },
  'rfc3164-ecs': { ...base, envelope: 'rfc3164' },
  'rfc3164-cef': { ...base, envelope: 'rfc3164', format: 'cef' },
  'rfc3164-leef': { ...base, envelope: 'rfc3164', format: 'leef' },
  'rfc3164-text': { ...base, envelope: 'rfc3164', format: 'text' },
};

/** One event of each type, as from its row. */
function eventOf(type: EventType, at: number): AuditEvent {
  const ours = type.category === 'ban' || type.category === 'daemon';
  const resource = { type: type.category, id: String(at + 1) };
  return readBack(plainEvent, {
    source: ours ? 'auditd' : 'postern',
    sequence: 4_700 + at,
    id: (at + 1).toString(16).padStart(32, '0'),
    time: (plainEvent.time ?? 0) + at * 1_000,
    type,
    action: type.action,
    rawAction: type.action.slice(type.category.length + 1),
    user: ours ? { id: null, name: null, email: null } : plainEvent.user,
    resource: type.category === 'auth' || type.category === 'setting' ? { type: null, id: null } : resource,
    address: at % 3 === 2 ? '2001:db8::7' : '203.0.113.7',
    details: JSON.stringify({ before: { enabled: true }, query: 'a=b|c\\d', text: 'one\ntwo "three" ]' }),
  });
}

const unknown = createClassifier()('frobnicated', 'widget');

const odd: readonly AuditEvent[] = [
  readBack(plainEvent, { type: unknown, action: unknown.action }),
  readBack(plainEvent, {
    type: unknown,
    action: unknown.action,
    time: null,
    rawTime: 'yesterday',
    details: null,
  }),
  readBack(plainEvent, {
    type: unknown,
    action: unknown.action,
    user: { id: null, name: 'x"]\\ \n<13>1 - src=198.51.100.1^|é日😀', email: 'a=b@c' },
    address: null,
    rawAddress: '198.51.100.1, 10.0.0.1',
    resource: { type: null, id: null },
    server: 'büro 1',
    details: null,
  }),
];

const events = [...catalog.map(eventOf), ...odd];

describe('the golden files', () => {
  it.each(Object.entries(files))(
    'the golden file %s.txt has a line for every entry of the catalog, and some unusual ones',
    (name, options) => {
      const lines = events.map(createFormatter(options));
      const text = `${lines.join('\n')}\n`;
      const file = new URL(`${name}.txt`, directory);
      if (update) {
        mkdirSync(directory, { recursive: true });
        writeFileSync(file, text);
      }
      const golden = readFileSync(file, 'utf8');
      expect(golden.split('\n').length - 1).toBe(catalog.length + odd.length);
      expect(lines).toEqual(golden.trimEnd().split('\n'));
    },
  );

  it('the golden file of OCSF is valid by the published field list', () => {
    const text = readFileSync(new URL('rfc5424-ocsf.txt', directory), 'utf8');
    for (const line of text.trimEnd().split('\n')) {
      const event = JSON.parse(line.slice(line.indexOf('{'))) as Record<string, unknown>;
      expect(ocsfFaults(event), line).toEqual([]);
    }
  });

  it('no entry of the catalog is a base event in OCSF', () => {
    for (const type of catalog) expect(type.ocsf.classUid, type.action).toBeGreaterThan(0);
  });
});
