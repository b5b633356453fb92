import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { writeEcs } from '../../src/formats/ecs-writer.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, plainEvent } from './events.js';

const memory = Buffer.alloc(65_536);

/** The line as written after some other bytes; null if it was not written. */
function written(event: AuditEvent, start = 7): string | null {
  const end = writeEcs(event, memory, start);
  return end < 0 ? null : memory.toString('utf8', start, end);
}

/** Text of ordinary rows, and some that is not plain. */
const word = fc.oneof(
  { weight: 8, arbitrary: fc.string({ unit: fc.constantFrom(..."abzAZ09 ._-@:/{}[]~!#'"), maxLength: 24 }) },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc.constantFrom('a', '"', '\\', 'é', '\u007f', '\u2028', '😀', '\n'),
      maxLength: 4,
    }),
  },
);
const maybe = fc.option(word);
const account = createClassifier()('create', 'user');
const classify = createClassifier();
const usual: fc.Arbitrary<AuditEvent> = fc
  .record({
    base: anyEvent(catalog),
    type: fc.constantFrom(...catalog, classify('frobnicate', 'widget'), classify('née', null)),
    time: fc.option(fc.integer({ min: Date.UTC(1999, 0), max: Date.UTC(2100, 0) })),
    sequence: fc.oneof(fc.nat(), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    rawAction: word,
    user: fc.record({ id: maybe, name: maybe, email: maybe }),
    resource: fc.record({ type: maybe, id: maybe }),
    rawAddress: maybe,
    server: fc.constantFrom('pp1.example.net', 'zürich', 'a"b'),
    details: fc.option(fc.dictionary(word, word).map((value) => JSON.stringify(value))),
  })
  .map(({ base, ...rest }) => readBack(base, { ...rest, action: rest.type.action }));

describe('a line written as bytes', () => {
  it('the line written as bytes equals the line made as text, for any event', () => {
    fc.assert(
      fc.property(fc.oneof(usual, anyEvent(catalog)), (event) => {
        const line = written(event);
        if (line !== null) expect(line).toBe(formatEcs(event));
      }),
      { numRuns: 3_000 },
    );
  });

  it('each type of event is written as bytes, equal to the text', () => {
    for (const type of catalog) {
      for (const source of ['postern', 'auditd'] as const) {
        const event = readBack(plainEvent, { type, action: type.action, source });
        expect(written(event)).toBe(formatEcs(event));
      }
    }
  });

  it.each<[string, Partial<AuditEvent>]>([
    ['nobody', { user: { id: null, name: null, email: null } }],
    ['no user and no address', { user: { id: null, name: null, email: null }, address: null }],
    ['an e-mail address alone', { user: { id: null, name: null, email: 'a@b' } }],
    ['an id alone', { user: { id: '7', name: null, email: null }, address: null }],
    ['an empty name', { user: { id: null, name: '', email: 'a@b' } }],
    ['no resource', { resource: { type: null, id: null } }],
    ['the id of a resource alone', { resource: { type: null, id: '7' } }],
    ['the type of a resource alone', { resource: { type: 'x', id: null } }],
    ['no details', { details: null }],
    ['escapes in the details', { details: '{"a":"\\n\\u0001\\""}' }],
    ['another address in the row', { rawAddress: '::ffff:203.0.113.7' }],
    ['IPv6', { address: '2001:db8::1' }],
    ['the largest id', { sequence: Number.MAX_SAFE_INTEGER }],
    ['ids of ten digits', { sequence: 1_000_000_000 }],
    ['ids of nine digits', { sequence: 999_999_999 }],
    ['the first id', { sequence: 1 }],
    ['the year 9999', { time: 253_402_300_799_999 }],
    ['1970', { time: 0 }],
    ['the last millisecond of a day', { time: Date.UTC(2026, 1, 28, 23, 59, 59, 999) }],
    ['long texts', { user: { id: '7'.repeat(40), name: 'n'.repeat(33), email: 'e'.repeat(3_000) } }],
    ['milliseconds', { time: 1_042 }],
    ['one millisecond', { time: 7_001 }],
    ['another server', { server: 'zürich' }],
  ])('bytes are written, equal to the text, for %s', (_, change) => {
    const event = readBack(plainEvent, { ...change });
    expect(written(event)).toBe(formatEcs(event));
    expect(written(plainEvent)).toBe(formatEcs(plainEvent)); // a neighbour's cached parts are not used for other events
  });

  it.each<[string, Partial<AuditEvent>]>([
    ['a time before 1970', { time: -1 }],
    ['the last valid time', { time: 8.64e15 }],
    ['no time', { time: null, rawTime: 'yesterday' }],
    ['a quote', { user: { id: '1', name: 'a"b', email: 'c' } }],
    ['a backslash', { rawAction: 'a\\b' }],
    ['a control character', { resource: { type: 'a\nb', id: null } }],
    ['DEL', { resource: { type: 'a', id: '\u007f' } }],
    ['a letter outside of ASCII', { user: { id: null, name: null, email: 'ü@example.org' } }],
    ['half a surrogate pair', { rawAddress: '\ud800' }],
    ['a letter outside of ASCII in the details', { details: '{"a":"é"}' }],
    ['a line separator in the details', { details: '{"a":"\u2028"}' }],
    ['another account', { type: account, details: '{"name":"ben","before":null,"after":{"email":"é"}}' }],
  ])('bytes equal the text, or are not written, for %s', (_, change) => {
    const event = readBack(plainEvent, { ...change });
    expect([null, formatEcs(event)]).toContain(written(event));
    expect(written(plainEvent)).toBe(formatEcs(plainEvent));
  });

  it('a line whose server has a NUL is not written as bytes, since syslog replaces it', () => {
    expect(written(readBack(plainEvent, { server: 'a\0b' }))).toBeNull();
    expect(written(plainEvent)).toBe(formatEcs(plainEvent));
  });

  it('bytes are written, equal to the text, for an event about another account', () => {
    const details = '{"name":"ben","roles":["editor"]}';
    const event = readBack(plainEvent, { type: account, resource: { type: 'user', id: '4' }, details });
    expect(written(event)).toBe(formatEcs(event));
    expect(written(event)).toContain('"target":{"id":"4","name":"ben"}');
  });

  it('bytes that do not fit are not written, and the memory after the end stays unchanged', () => {
    const line = formatEcs(plainEvent);
    for (let room = 0; room <= line.length; room++) {
      const around = Buffer.alloc(line.length + 10, 'x');
      const end = writeEcs(plainEvent, around.subarray(0, room), 0);
      expect(end).toBe(room === line.length ? line.length : -1);
      expect(around.toString('utf8', room)).toBe('x'.repeat(around.length - room));
    }
  });
});
