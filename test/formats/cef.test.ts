import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pictured } from '../../src/audit/unsafe-characters.js';
import { escapeCefHeader, formatCef, minimalCef } from '../../src/formats/cef.js';
import { formatPlainText } from '../../src/formats/plain-text.js';
import { readBack } from '../support/read-events.js';
import { parseCef } from './cef-parser.js';
import { anyEvent, controlCharacters, plainEvent } from './events.js';

/** CEF carries CR and LF. Other unsafe characters become pictures. */
function carried(text: string): string {
  return text.replace(/[^\r\n]+/g, pictured);
}

describe('CEF', () => {
  it('CEF has the keys of its dictionary', () => {
    expect(parseCef(formatCef(plainEvent, { version: '1.2.3' }))).toEqual({
      header: [
        'CEF:0',
        'Postern',
        'postern-auditd',
        '1.2.3',
        'widget.frobnicated',
        'Widget frobnicated',
        '2',
      ],
      extension: {
        rt: String(plainEvent.time),
        src: '203.0.113.7',
        outcome: 'unknown',
        act: 'widget.frobnicated',
        cat: 'widget',
        dvchost: 'pp1.example.net',
        cn1Label: 'Sequence',
        cn1: '4711',
        cn2Label: 'Timeline',
        cn2: '1',
        suid: '7',
        suser: 'jan.kowalski',
        cs1Label: 'Resource Type',
        cs1: 'widget',
        cs2Label: 'Resource ID',
        cs2: '12',
        cs3Label: 'User Email',
        cs3: 'jan@example.org',
        cs4Label: 'Details',
        cs4: plainEvent.details,
        cs5Label: 'Raw Action',
        cs5: 'frobnicated',
        msg: formatPlainText(plainEvent),
        cs6Label: 'Entry',
        cs6: 'postern:4711',
        externalId: plainEvent.id,
      },
    });
  });

  it('an IPv6 source has its own CEF key', () => {
    const { extension } = parseCef(formatCef(readBack(plainEvent, { address: '2001:db8::7' })));
    expect(extension).toMatchObject({ c6a2Label: 'Source IPv6 Address', c6a2: '2001:db8::7' });
    expect(extension).not.toHaveProperty('src');
  });

  it("CEF does not present the time of reading as the event's time", () => {
    const { extension } = parseCef(formatCef(readBack(plainEvent, { time: null, rawTime: 'yesterday' })));
    expect(extension).not.toHaveProperty('rt');
    expect(extension).toMatchObject({
      deviceCustomDate1Label: 'Ingested',
      deviceCustomDate1: String(plainEvent.ingested),
      flexString2: 'yesterday',
    });
  });

  it('CEF has the account of a login and the target of a change to a user', () => {
    const ecs = { category: ['authentication'], type: ['start'] };
    const auth = readBack(plainEvent, { type: { ...plainEvent.type, ecs } });
    expect(parseCef(formatCef(auth)).extension).toMatchObject({
      suser: 'jan.kowalski',
      duser: 'jan.kowalski',
    });
    const user = readBack(plainEvent, { type: { ...plainEvent.type, category: 'user' } });
    expect(parseCef(formatCef(user)).extension).toMatchObject({ suser: 'jan.kowalski', duid: '12' });
    expect(parseCef(formatCef(user)).extension).not.toHaveProperty('duser');
    const named = readBack(user, { details: '{"before":{"name":"ben=x"},"after":{"name":"benno"}}' });
    expect(parseCef(formatCef(named)).extension).toMatchObject({
      suser: 'jan.kowalski',
      duser: 'ben=x',
      duid: '12',
    });
    const mailed = readBack(user, { details: '{"email":"ben@example.org"}' });
    expect(parseCef(formatCef(mailed)).extension).toMatchObject({ duser: 'ben@example.org' });
    const host = readBack(plainEvent, { details: '{"name":"ben"}' });
    expect(parseCef(formatCef(host)).extension).not.toHaveProperty('duser');
  });

  it('a shortened CEF event is marked', () => {
    const { extension } = parseCef(formatCef(plainEvent, { truncated: true }));
    expect(extension).toMatchObject({ cn3Label: 'Truncated', cn3: '1' });
  });

  it('CEF unescapes to the original for any row', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        const text = formatCef(event);
        expect(text).not.toMatch(controlCharacters);
        const { header, extension } = parseCef(text);
        const sent = (value: string | null) => (value === null || value === '' ? undefined : carried(value));
        expect(header[4]).toBe(
          carried(event.type.cef.signature).replace(/[\n\r]/g, (c) => (c === '\n' ? '␊' : '␍')),
        );
        expect(extension.suser).toBe(sent(event.user.name ?? event.user.email));
        expect(extension.suid).toBe(sent(event.user.id));
        expect(extension.cs1).toBe(sent(event.resource.type));
        expect(extension.cs2).toBe(sent(event.resource.id));
        expect(extension.cs3).toBe(sent(event.user.email));
        expect(extension.cs4).toBe(sent(event.details));
        expect(extension.cs5).toBe(sent(event.rawAction));
        expect(extension.act).toBe(sent(event.action));
        expect(extension.cat).toBe(sent(event.type.category));
        expect(extension.dvchost).toBe(sent(event.server));
        expect(extension.flexString1).toBe(sent(event.rawAddress));
        expect(extension.src || extension.c6a2).toBe(sent(event.address));
        expect(extension.externalId).toBe(event.id);
      }),
    );
  });

  it('a minimal CEF event is valid and has the id', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        const text = minimalCef(event);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(256);
        expect(parseCef(text).extension).toEqual({
          cn3Label: 'Truncated',
          cn3: '1',
          externalId: event.id,
        });
      }),
    );
  });

  it('a CEF header escapes pipes and backslashes, but not equals signs', () => {
    expect(escapeCefHeader('a|b\\c=d\n')).toBe('a\\|b\\\\c=d\u240a');
  });
});
