import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pictured } from '../../src/audit/unsafe-characters.js';
import { formatLeef, minimalLeef } from '../../src/formats/leef.js';
import { formatPlainText } from '../../src/formats/plain-text.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, controlCharacters, plainEvent } from './events.js';
import { parseLeef } from './leef-parser.js';

/** What a receiver reads, which undoes no escape. */
function carried(text: string): string {
  return pictured(text.replaceAll('^', '\\u005e').replaceAll('\r', '\\r').replaceAll('\n', '\\n'));
}

describe('LEEF', () => {
  it('LEEF has its predefined attributes and our own keys', () => {
    expect(parseLeef(formatLeef(plainEvent, { version: '1.2.3' }))).toEqual({
      header: ['LEEF:2.0', 'Postern', 'postern-auditd', '1.2.3', 'widget.frobnicated', '^'],
      attributes: {
        devTimeFormat: "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        devTime: '2026-11-22T20:21:00.000+0000',
        src: '203.0.113.7',
        sev: '2',
        cat: 'widget',
        outcome: 'unknown',
        action: 'widget.frobnicated',
        serverName: 'pp1.example.net',
        entry: 'postern:4711',
        timeline: '1',
        usrName: 'jan.kowalski',
        userId: '7',
        userEmail: 'jan@example.org',
        resourceType: 'widget',
        resourceId: '12',
        details: plainEvent.details,
        rawAction: 'frobnicated',
        msg: formatPlainText(plainEvent),
        eventId: plainEvent.id,
      },
    });
  });

  it("LEEF does not present the time of reading as the event's time", () => {
    const { attributes } = parseLeef(formatLeef(readBack(plainEvent, { time: null, rawTime: 'yesterday' })));
    expect(attributes).not.toHaveProperty('devTime');
    expect(attributes).toMatchObject({ rawTime: 'yesterday', ingested: '2026-11-22T20:21:01.000Z' });
  });

  it('a shortened LEEF event is marked', () => {
    expect(parseLeef(formatLeef(plainEvent, { truncated: true })).attributes).toMatchObject({
      truncated: 'true',
    });
  });

  it('LEEF has backslashes and `=` as they are, and details that stay JSON of the same value', () => {
    const details = JSON.stringify({ path: 'C:\\new', query: 'a=b^c', text: 'one\ntwo' });
    const user = { id: null, name: 'DOMAIN\\jan', email: null };
    const { attributes } = parseLeef(
      formatLeef(readBack(plainEvent, { details, user, rawAction: 'a=b\nc^d' })),
    );
    expect(attributes.usrName).toBe('DOMAIN\\jan');
    expect(attributes.rawAction).toBe('a=b\\nc\\u005ed');
    expect(JSON.parse(attributes.details ?? '')).toEqual(JSON.parse(details));
  });

  it('a receiver reads from LEEF what the row has, for any row', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        const text = formatLeef(event);
        expect(text).not.toMatch(controlCharacters);
        const { header, attributes } = parseLeef(text);
        expect(header).toHaveLength(6);
        const sent = (value: string | null) => (value === null || value === '' ? undefined : carried(value));
        expect(attributes.usrName).toBe(sent(event.user.name ?? event.user.email));
        expect(attributes.userId).toBe(sent(event.user.id));
        expect(attributes.userEmail).toBe(sent(event.user.email));
        expect(attributes.resourceType).toBe(sent(event.resource.type));
        expect(attributes.resourceId).toBe(sent(event.resource.id));
        expect(attributes.details).toBe(sent(event.details));
        expect(attributes.rawAction).toBe(sent(event.rawAction));
        expect(attributes.rawAddress).toBe(sent(event.rawAddress));
        expect(attributes.action).toBe(sent(event.action));
        expect(attributes.serverName).toBe(sent(event.server));
        expect(attributes.src).toBe(sent(event.address));
        expect(attributes.eventId).toBe(event.id);
      }),
    );
  });

  it('LEEF has no attribute from a client', () => {
    const user = { id: null, name: 'x^src=198.51.100.1', email: 'src=198.51.100.2' };
    const text = formatLeef(readBack(plainEvent, { user, details: '{"a":"^src=198.51.100.3"}' }));
    expect(text.match(/\^src=/g)).toHaveLength(1);
    expect(parseLeef(text).attributes).toMatchObject({ src: '203.0.113.7', userEmail: 'src=198.51.100.2' });
  });

  it('a minimal LEEF event is valid and has the id', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        const text = minimalLeef(event);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(256);
        expect(parseLeef(text).attributes).toMatchObject({ truncated: 'true', eventId: event.id });
      }),
    );
  });
});
