import { describe, expect, it } from 'vitest';
import { type AuditEvent, copyEvent } from '../../src/audit/event.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { parseEcsPosition } from '../../src/formats/ecs-position.js';
import { formatFleet, lastFleet, lastSubject, parseFleet } from '../../src/formats/fleet-message.js';
import { formatted, lastLine, lastMessage } from '../../src/formats/format-fallback.js';
import { createFormatter, type Formatter, syslogFormatDefaults } from '../../src/formats/syslog-message.js';
import { encode } from '../../src/sinks/messages.js';
import { plainEvent } from './events.js';
import { parseRfc5424 } from './rfc5424-parser.js';

/** An event with a text at which every format throws. */
function broken(): AuditEvent {
  return Object.defineProperty(copyEvent(plainEvent, {}), 'rawAction', {
    get: () => {
      throw new Error('no such text');
    },
  });
}

const encoded = (format: Formatter, event: AuditEvent) =>
  encode({ key: 'test', format, last: lastMessage, end: '' }, [event]);

const plain = { ...syslogFormatDefaults, procId: null };

describe('an event that a format can not take', () => {
  it.each(['ecs', 'cef', 'leef', 'ocsf'] as const)(
    'an event that can not be formatted is sent in the minimal form of %s, and reported once',
    (format) => {
      expect(() => createFormatter({ ...plain, format })(broken())).toThrow('no such text');
      const { bytes, unformatted } = encoded(createFormatter({ ...plain, format }), broken());
      const { message } = parseRfc5424(bytes.toString());
      expect(message).toContain('unformatted');
      expect(message).not.toContain('jan.kowalski');
      expect(message).toContain(format === 'ocsf' ? '"class_uid":3004' : 'widget.frobnicated');
      expect(unformatted.map(({ at, event, error }) => [at, event.sequence, String(error)])).toEqual([
        [0, 4711, 'Error: no such text'],
      ]);
    },
  );

  it('an event that can never be formatted is named in a whole message', () => {
    const always = () => {
      throw new Error('always');
    };
    const text = encoded(always, plainEvent).bytes.toString();
    expect(parseRfc5424(text).message).toBe('event postern:4711 could not be formatted');
  });

  it('the line of such an event is found again after a crash, whatever failed in the format', () => {
    const position = { source: 'postern', timeline: 1, sequence: 4711, id: plainEvent.id };
    const line = formatted(broken(), formatEcs, lastLine, () => undefined);
    expect(parseEcsPosition(line)).toEqual(position);
    expect(JSON.parse(line)).toMatchObject({ source: { ip: '203.0.113.7' } });
    expect(parseEcsPosition(lastLine(broken()))).toEqual(position);
  });

  it('such an event reaches the hub without its columns', () => {
    expect(() => formatFleet(broken(), 'web1', 0, 1e6)).toThrow('no such text');
    const last = parseFleet(lastSubject('web1'), lastFleet(broken(), 'web1', 12));
    expect(last).toMatchObject({ id: plainEvent.id, sequence: 4711, after: 12, server: 'web1' });
  });
});
