import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuditdError } from '../../src/errors.js';
import { printable } from '../../src/formats/escape-unprintable.js';
import {
  checkStructuredDataId,
  createRfc5424Header,
  headerField,
  messageId,
  type Rfc5424Options,
  rfc5424Timestamp,
} from '../../src/formats/rfc5424.js';
import { cutUtf8 } from '../../src/formats/utf8.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, controlCharacters, plainEvent, unknownType } from './events.js';
import { parseRfc5424 } from './rfc5424-parser.js';

const plain: Rfc5424Options = {
  facility: 'authpriv',
  appName: 'postern-auditd',
  procId: '4711',
  structuredDataId: null,
  bom: false,
};

describe('the header of RFC 5424', () => {
  it('the header of RFC 5424 has the priority, UTC time with milliseconds, server, program, process and action', () => {
    expect(createRfc5424Header(plain)(plainEvent)).toBe(
      '<86>1 2026-11-22T20:21:00.000Z pp1.example.net postern-auditd 4711 widget.frobnicated - ',
    );
  });

  it.each([
    ['kern', 'alert', 1],
    ['auth', 'warning', 36],
    ['authpriv', 'info', 86],
    ['local0', 'critical', 130],
    ['local7', 'notice', 189],
    ['local7', 'error', 187],
  ] as const)('a message of facility %s and severity %s begins with <%d>', (facility, severity, expected) => {
    const event = readBack(plainEvent, { type: { ...unknownType, severity } });
    expect(createRfc5424Header({ ...plain, facility })(event)).toMatch(new RegExp(`^<${expected}>1 `));
  });

  it.each([
    [null, '-'],
    [0, '1970-01-01T00:00:00.000Z'],
    [Date.UTC(2100, 0) - 1, '2099-12-31T23:59:59.999Z'],
    [Date.UTC(2100, 0), '-'],
    [-1, '-'],
    [8.64e15, '-'],
    [Number.NaN, '-'],
  ])('writes the time %s as %s', (time, expected) => {
    expect(rfc5424Timestamp(time)).toBe(expected);
  });

  it.each([
    ['pp1.example.net', 255, 'pp1.example.net'],
    ['büro pp1', 255, 'b_ro_pp1'],
    ['a\n<13>1 b', 255, 'a_<13>1_b'],
    ['', 255, '-'],
    [null, 128, '-'],
    ['x'.repeat(300), 255, 'x'.repeat(255)],
  ])('writes the field %j of at most %d as %j', (value, length, expected) => {
    expect(headerField(value, length)).toBe(expected);
  });

  it('the header has the server of each event', () => {
    const header = createRfc5424Header(plain);
    const hosts = ['a', 'b', 'b', 'a'].map(
      (server) => header(readBack(plainEvent, { server })).split(' ')[2],
    );
    expect(hosts).toEqual(['a', 'b', 'b', 'a']);
  });

  it('a byte order mark precedes the body only if configured', () => {
    expect(createRfc5424Header({ ...plain, bom: true })(plainEvent).endsWith(' - \ufeff')).toBe(true);
  });
});

describe('a MSGID', () => {
  it('the MSGID is the action if it fits', () => {
    expect(messageId('redirection_host.disabled')).toBe('redirection_host.disabled');
    expect(messageId('x'.repeat(32))).toBe('x'.repeat(32));
    expect(messageId('')).toBe('-');
  });

  it('a MSGID has at most 32 characters, and two actions never share one', () => {
    const stem = 'redirection_host.something_very_long';
    const actions = [
      `${stem}_a`,
      `${stem}_b`,
      'a b',
      'a_b',
      'a\nb',
      'ä.b',
      'ö.b',
      `${stem}_${'x'.repeat(500)}`,
    ];
    const ids = actions.map(messageId);
    expect(new Set(ids).size).toBe(actions.length);
    for (const id of ids) expect(id).toMatch(/^[\x21-\x7e]{1,32}$/);
    expect(ids[0]).toMatch(/^redirection_host\.so~[0-9a-f]{12}$/);
  });
});

describe('structured data', () => {
  const options = { ...plain, structuredDataId: 'audit@32473' };

  it('structured data escapes quotes, backslashes and brackets', () => {
    const event = readBack(plainEvent, { user: { id: null, name: 'a"b\\c]d[e', email: null } });
    const header = createRfc5424Header(options)(event);
    expect(header).toContain(' user="a\\"b\\\\c\\]d[e" ');
    expect(parseRfc5424(header).structuredData).toMatchObject({ 'audit@32473': { user: 'a"b\\c]d[e' } });
  });

  it('structured data identifies the event', () => {
    expect(parseRfc5424(createRfc5424Header(options)(plainEvent)).structuredData).toEqual({
      'audit@32473': {
        id: plainEvent.id,
        entry: 'postern:4711',
        timeline: '1',
        action: 'widget.frobnicated',
        category: 'widget',
        outcome: 'unknown',
        src: '203.0.113.7',
        server: 'pp1.example.net',
        user: 'jan.kowalski',
        resourceType: 'widget',
        resourceId: '12',
      },
    });
  });

  it('structured data is parsed back from any event, with its values cut at 256 bytes', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        const header = createRfc5424Header(options)(event);
        expect(header).not.toMatch(controlCharacters);
        const parsed = parseRfc5424(`${header}body`);
        expect(parsed.message).toBe('body');
        const sent = (value: string | null) => printable(cutUtf8(value ?? '', 256)) || undefined;
        expect(parsed.structuredData).toEqual({
          'audit@32473': {
            id: event.id,
            entry: `${event.source}:${event.sequence}`,
            timeline: String(event.timeline),
            action: sent(event.action),
            category: sent(event.type.category),
            outcome: event.type.outcome,
            src: sent(event.address),
            server: sent(event.server),
            user: sent(event.user.name ?? event.user.email),
            resourceType: sent(event.resource.type),
            resourceId: sent(event.resource.id),
          },
        });
      }),
    );
  });

  it.each(['audit@32473', 'postern-auditd@32473.1.2', 'a@1'])('accepts the SD-ID %s', (id) => {
    expect(() => checkStructuredDataId(id)).not.toThrow();
  });

  it.each([
    'audit',
    'audit@',
    '@32473',
    'a b@1',
    'a"b@1',
    'a]@1',
    'a=b@1',
    'a@b@1',
    'ä@1',
    `${'x'.repeat(31)}@1`,
  ])('rejects the SD-ID %s and shows a valid one', (id) => {
    expect(() => createRfc5424Header({ ...plain, structuredDataId: id })).toThrow(AuditdError);
    expect(() => checkStructuredDataId(id)).toThrow(/audit@32473/);
  });
});
