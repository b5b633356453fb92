import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { AuditdError } from '../../src/errors.js';
import { type BodyFormat, bodies } from '../../src/formats/body-formats.js';
import { formatEcs } from '../../src/formats/ecs.js';
import {
  createFormatter,
  type SyslogFormatOptions,
  syslogFormatDefaults,
} from '../../src/formats/syslog-message.js';
import { readBack, readRow } from '../support/read-events.js';
import { parseCef } from './cef-parser.js';
import { anyEvent, controlCharacters, plainEvent } from './events.js';
import { parseLeef } from './leef-parser.js';
import { ocsfFaults } from './ocsf-schema.js';
import { parseRfc5424 } from './rfc5424-parser.js';

const plain: SyslogFormatOptions = { ...syslogFormatDefaults, procId: '4711', zone: 'utc', version: '1.2.3' };
const formats: readonly BodyFormat[] = ['ecs', 'cef', 'leef', 'ocsf', 'text'];

function bodyOf(options: SyslogFormatOptions, event: AuditEvent): string {
  return parseRfc5424(createFormatter(options)(event)).message;
}

/** Whether the body is marked as shortened. Throws if it is not valid in its format. */
function isMarked(format: BodyFormat, body: string): boolean {
  switch (format) {
    case 'ecs': {
      const { postern } = JSON.parse(body) as { postern: { truncated?: boolean } };
      return postern.truncated === true;
    }
    case 'ocsf': {
      const { unmapped } = JSON.parse(body) as { unmapped: { postern: { truncated?: boolean } } };
      return unmapped.postern.truncated === true;
    }
    case 'cef':
      return parseCef(body).extension.cn3 === '1';
    case 'leef':
      return parseLeef(body).attributes.truncated === 'true';
    case 'text':
      return body.endsWith('truncated]');
  }
}

describe('a syslog message', () => {
  it('by default a syslog message is the header of RFC 5424 and the ECS line', () => {
    expect(createFormatter(plain)(plainEvent)).toBe(
      '<86>1 2026-11-22T20:21:00.000Z pp1.example.net postern-auditd 4711 widget.frobnicated - ' +
        formatEcs(plainEvent, { version: '1.2.3' }),
    );
  });

  it.each(formats)('a syslog message with the body %s is parsed back from any event', (format) => {
    const formatter = createFormatter({
      ...plain,
      format,
      structuredDataId: 'audit@32473',
      maxMessageSize: 1e6,
    });
    fc.assert(
      fc.property(anyEvent(catalog), (event) => {
        const message = formatter(event);
        expect(message).not.toMatch(controlCharacters);
        const parsed = parseRfc5424(message);
        expect(isMarked(format, parsed.message)).toBe(false);
        expect(parsed.bom).toBe(false);
        const sendable = event.time !== null && event.time >= 0 && event.time < Date.UTC(2100, 0);
        expect(parsed.timestamp).toBe(sendable ? new Date(event.time).toISOString() : null);
      }),
    );
  });

  it('a syslog message has a byte order mark only if configured', () => {
    expect(parseRfc5424(createFormatter({ ...plain, bom: true })(plainEvent)).bom).toBe(true);
    expect(createFormatter(plain)(plainEvent)).not.toContain('\ufeff');
  });

  it('the old envelope has a tag, except before CEF and LEEF', () => {
    const old = { ...plain, envelope: 'rfc3164' } as const;
    const start = '<86>Nov 22 20:21:00 pp1.example.net ';
    expect(createFormatter({ ...old, format: 'text' })(plainEvent)).toMatch(
      new RegExp(`^${start}postern-auditd\\[4711\\]: Widget frobnicated by jan`),
    );
    expect(createFormatter({ ...old, format: 'cef' })(plainEvent).startsWith(`${start}CEF:0|`)).toBe(true);
    expect(createFormatter({ ...old, format: 'leef' })(plainEvent).startsWith(`${start}LEEF:2.0|`)).toBe(
      true,
    );
  });
});

describe('max_message_size', () => {
  it.each(formats)(
    'no %s message exceeds max_message_size, and each stays valid and identifies its event',
    (format) => {
      fc.assert(
        fc.property(
          anyEvent(catalog),
          fc.integer({ min: 480, max: 6_000 }),
          fc.boolean(),
          fc.boolean(),
          (event, maxMessageSize, bom, withData) => {
            const structuredDataId = withData ? 'audit@32473' : null;
            const options = { ...plain, format, maxMessageSize, bom, structuredDataId };
            const message = createFormatter(options)(event);
            expect(Buffer.byteLength(message)).toBeLessThanOrEqual(maxMessageSize);
            expect(message).not.toMatch(controlCharacters);
            const whole = bodyOf({ ...options, maxMessageSize: 1e7 }, event);
            const body = parseRfc5424(message).message;
            const brief = bodies[format].format(event, { brief: true, version: '1.2.3' });
            expect(isMarked(format, body)).toBe(body !== whole && body !== brief);
            // The id is never lost. Only a sentence has the row's number instead.
            expect(body).toContain(format === 'text' ? `${event.source}:${event.sequence}` : event.id);
          },
        ),
        { numRuns: 300 },
      );
    },
  );

  it.each(formats)('no %s message in the old envelope exceeds max_message_size', (format) => {
    fc.assert(
      fc.property(anyEvent(catalog), fc.integer({ min: 480, max: 2_000 }), (event, maxMessageSize) => {
        const options = { ...plain, format, maxMessageSize, envelope: 'rfc3164' as const };
        const message = createFormatter(options)(event);
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(maxMessageSize);
        const body = message.replace(/^<\d+>.{15} [!-~]+ (postern-auditd\[4711\]: )?/, '');
        expect(() => isMarked(format, body)).not.toThrow();
      }),
    );
  });

  const wordy: AuditEvent = readBack(plainEvent, {
    details: JSON.stringify({
      domain: 'app.example.org',
      note: 'x'.repeat(20_000),
      list: Array(500).fill('y'),
    }),
  });

  it('a long message first loses details, and only as many as necessary', () => {
    const body = JSON.parse(bodyOf({ ...plain, maxMessageSize: 3_500 }, wordy)) as Record<string, unknown>;
    expect(body.user).toEqual({ id: '7', name: 'jan.kowalski', email: 'jan@example.org' });
    expect(body.postern).toMatchObject({
      details: { domain: 'app.example.org', note: 'x'.repeat(256), list: Array(500).fill('y') },
    });
    const less = JSON.parse(bodyOf({ ...plain, maxMessageSize: 1_200 }, wordy)) as Record<string, unknown>;
    expect(less.postern).toMatchObject({ details: { domain: 'app.example.org', note: 'x'.repeat(64) } });
  });

  it.each([
    ['cef', (body: string) => parseCef(body).extension.cs4],
    ['leef', (body: string) => parseLeef(body).attributes.details],
  ] as const)('shortened details in %s are valid JSON', (format, detailsOf) => {
    const body = bodyOf({ ...plain, format, maxMessageSize: 2_048 }, wordy);
    expect(JSON.parse(detailsOf(body) ?? '')).toMatchObject({ domain: 'app.example.org' });
  });

  it.each(['ecs', 'cef', 'leef', 'ocsf'] as const)(
    'a shortened message of %s uses its room to the last byte',
    (format) => {
      const event = readBack(plainEvent, {
        details: JSON.stringify({ a: '='.repeat(64), b: '=', c: 'cccccc' }),
      });
      const kept = readBack(plainEvent, { details: '{"b":"="}' });
      const header = createFormatter({ ...plain, format, maxMessageSize: 1e6 })(event).indexOf(' - ') + 3;
      const room = Buffer.byteLength(
        bodies[format].format(kept, { truncated: true, brief: true, version: '1.2.3' }),
      );
      expect(bodyOf({ ...plain, format, maxMessageSize: header + room }, event)).toHaveLength(room);
      expect(bodyOf({ ...plain, format, maxMessageSize: header + room - 1 }, event).length).toBeLessThan(
        room - 9,
      );
    },
  );

  it('a long message loses repetitions before any part of the event', () => {
    const options = { ...plain, format: 'ocsf' } as const;
    const whole = createFormatter(options)(plainEvent);
    const message = createFormatter({ ...options, maxMessageSize: Buffer.byteLength(whole) - 1 })(plainEvent);
    const parsed = JSON.parse(parseRfc5424(message).message) as Record<string, unknown>;
    expect(ocsfFaults(parsed)).toEqual([]);
    expect(parsed).not.toHaveProperty('class_name');
    expect(isMarked('ocsf', JSON.stringify(parsed))).toBe(false);
  });

  it.each(catalog.map(({ action }) => action))(
    'a datagram of 1,400 bytes has room for a valid OCSF event of %s',
    (action) => {
      const type = catalog.find((candidate) => candidate.action === action) ?? plainEvent.type;
      const body = bodyOf(
        { ...plain, format: 'ocsf', maxMessageSize: 1_400 },
        readBack(wordy, { type, action }),
      );
      expect(ocsfFaults(JSON.parse(body) as Record<string, unknown>)).toEqual([]);
    },
  );

  it('a message without details is shortened in its long texts', () => {
    const event = readBack(wordy, { user: { ...wordy.user, name: 'ü'.repeat(10_000) } });
    const body = JSON.parse(bodyOf({ ...plain, maxMessageSize: 2_048 }, event)) as Record<string, unknown>;
    expect(body.user).toMatchObject({ name: 'ü'.repeat(128), email: 'jan@example.org' });
    expect(body.postern).not.toHaveProperty('details');
  });

  it('structured data is dropped before it takes half of the room', () => {
    const options = { ...plain, structuredDataId: 'audit@32473', maxMessageSize: 480 };
    expect(createFormatter(options)(plainEvent)).toContain(' widget.frobnicated - {');
    expect(createFormatter({ ...options, maxMessageSize: 2_048 })(plainEvent)).toContain(' [audit@32473 id=');
  });

  it.each([479, 0, -1, 1_000.5, Number.NaN])(
    'rejects a max_message_size of %d with the next step',
    (maxMessageSize) => {
      expect(() => createFormatter({ ...plain, maxMessageSize })).toThrow(AuditdError);
      expect(() => createFormatter({ ...plain, maxMessageSize })).toThrow(
        /max_message_size .* Set it to \d+ or more/,
      );
    },
  );

  it('rejects a max_message_size without room beside long names', () => {
    const options = { ...plain, appName: 'a'.repeat(48), procId: '1'.repeat(128), maxMessageSize: 480 };
    expect(() => createFormatter(options)).toThrow(/Set it to 5\d\d or more/);
  });
});

describe('a row with long details', () => {
  const long = readRow({
    created_at: '2026-11-22 20:21:00',
    user_name: 'jan.kowalski',
    action: 'update',
    resource_type: 'proxy_host',
    details: JSON.stringify({ domain: 'app.example.org', config: 'x'.repeat(12_000) }),
    ip_address: '203.0.113.7',
  });

  const named: Record<BodyFormat, string> = {
    ecs: '"action":"proxy_host.update"',
    cef: '|proxy_host.update|',
    leef: '|proxy_host.update|',
    ocsf: `"type_uid":${long.type.ocsf.classUid * 100 + long.type.ocsf.activityId}`,
    text: 'Proxy host updated',
  };

  it.each(formats)(
    'a row with long details keeps its action, and as much else as fits, in the body %s',
    (format) => {
      for (const maxMessageSize of [700, 1_200, 4_000]) {
        const body = bodyOf({ ...plain, format, maxMessageSize }, long);
        if (format !== 'text') expect(isMarked(format, body)).toBe(true); // it has no details
        expect(body).not.toContain('undefined');
        expect(body).toContain(named[format]);
        if (maxMessageSize === 4_000) expect(body).toContain('jan.kowalski');
      }
    },
  );
});
