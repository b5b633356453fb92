import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent, ColumnValue } from '../../src/audit/event.js';
import { parseTime } from '../../src/audit/time.js';
import {
  formatFleet,
  lastFleet,
  parseFleet,
  subjectOf,
  subjectToken,
} from '../../src/formats/fleet-message.js';
import { COLUMNS } from '../../src/recorder/audit-table.js';
import { RowReader } from '../../src/source/row-to-event.js';
import { readRow } from '../support/read-events.js';
import { anyEvent, plainEvent } from './events.js';

const value: fc.Arbitrary<ColumnValue> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);

describe('the name of a server in a subject', () => {
  it('any server name is one token, and two names never share one', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 30 }),
        fc.string({ maxLength: 30 }),
        (one, other) => {
          expect(subjectToken(one)).toMatch(/^[A-Za-z0-9_=-]+$/);
          expect(subjectToken(one) === subjectToken(other)).toBe(one === other);
        },
      ),
    );
  });

  it('a token encodes dots, spaces and wildcards in hexadecimal', () => {
    expect(subjectToken('web 1.example.net')).toBe('web=201=2Eexample=2Enet');
    expect(subjectToken('>')).toBe('=3E');
    expect(subjectToken('')).toBe('=');
  });

  it('the token of a very long name is short and unique', () => {
    const [one, other] = [subjectToken(`${'ü'.repeat(500)}a`), subjectToken(`${'ü'.repeat(500)}b`)];
    expect(one.length).toBeLessThanOrEqual(120);
    expect(one).not.toBe(other);
  });

  it('the subject of any event has five tokens', () => {
    fc.assert(
      fc.property(anyEvent(), (event) => {
        expect(subjectOf('web1', event)).toMatch(/^postern\.audit\.web1\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+$/);
      }),
    );
  });
});

/** The event of a row with these columns, except `server`. Its details are unchanged. */
function eventOf(columns: readonly unknown[], server?: string): AuditEvent {
  const row = Object.fromEntries(COLUMNS.map((column, at) => [column, columns[at]]));
  return readRow(row, { redact: (details) => details, ...(server === undefined ? {} : { server }) });
}

describe('an event on its way to the hub', () => {
  const columns = fc.array(value, { minLength: 9, maxLength: 9 });

  it('a message restores every column of any row as it is in the table', () => {
    fc.assert(
      fc.property(columns, fc.string({ minLength: 1, maxLength: 20 }), (nine, server) => {
        const event = eventOf(nine, server);
        const { body, cut } = formatFleet(event, server, 12, 2 ** 20);
        const read = parseFleet(subjectOf(subjectToken(server), event), body);
        expect(cut).toBe(false);
        expect(read).toEqual({
          id: event.id,
          origin: server,
          source: 'postern',
          timeline: 1,
          sequence: 4711,
          after: 12,
          server,
          columns: [...nine.with(7, event.details), server],
          revision: null,
        });
      }),
    );
  });

  it('the message of an edited version names its row, and its subject is never that of a failed login', () => {
    for (const [action, revisedAction] of [
      ['auth.login_failure', 'auth.login_failure'],
      ['daemon.row_edited', 'login_failed'],
      ['daemon.row_edited', 'é😀'.repeat(40_000)],
    ] as const) {
      const options = { source: 'auditd', sequence: 9, revisionOf: 4711, revisedAction } as const;
      const event = readRow(
        { created_at: '2026-11-30 10:00:00', action, ip_address: '203.0.113.4' },
        options,
      );
      const subject = subjectOf('web1', event);
      expect(subject).toBe('postern.audit.web1.daemon.row_edited');
      const { body } = formatFleet(event, 'web1', 8, 65_536);
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(65_536);
      const read = parseFleet(subject, body);
      if (typeof read === 'string') throw new Error(read);
      expect([read.sequence, read.revision?.of]).toEqual([9, 4711]);
      expect(revisedAction.startsWith(read.revision?.action ?? '-')).toBe(true);
      const least = parseFleet(subject, lastFleet(event, 'web1', 8));
      expect(least).toMatchObject({ revision: { of: 4711, action: null } });
    }
  });

  it("a row of Postern's table, or of a release without versions, is not a version", () => {
    const event = readRow({ action: 'update' }, { source: 'auditd', revisionOf: 3 });
    const { body } = formatFleet(event, 'web1', 0, 2 ** 20);
    const subject = subjectOf('web1', event);
    const { revision_of: _of, revised_action: _action, ...earlier } = JSON.parse(body);
    expect(parseFleet(subject, JSON.stringify(earlier))).toMatchObject({ sequence: 4711, revision: null });
    const forged = JSON.stringify({ ...JSON.parse(body), source: 'postern' });
    expect(parseFleet(subject, forged)).toMatchObject({ source: 'postern', revision: null });
  });

  it.each<[unknown, unknown]>([
    ['2026-07-01 14:00:00', '2026-07-01T12:00:00.000Z'],
    [Buffer.from('2026-07-01 14:00:00'), '2026-07-01T12:00:00.000Z'],
    ['2026-07-01 14:00:00Z', '2026-07-01 14:00:00Z'],
    [1_782_907_200n, 1_782_907_200n],
    ['yesterday', 'yesterday'],
  ])('a local time is sent in UTC, because only its server knows the zone: %s', (created, sent) => {
    const reader = new RowReader({
      name: 'postern',
      sourceId: '0'.repeat(32),
      server: 'web1',
      classify: createClassifier(),
      redact: (details) => details,
      timeZone: 'Europe/Berlin',
    });
    const row = [1n, created as ColumnValue, ...Array<null>(9).fill(null)];
    const place = { timeline: 1, ingested: 0, defaults: [], bytesOf: () => null };
    const event = reader.event(row, 'f'.repeat(32), place);
    const read = parseFleet(subjectOf('web1', event), formatFleet(event, 'web1', 0, 2 ** 20).body);
    if (typeof read === 'string') throw new Error(read);
    expect(read.columns[0]).toEqual(sent);
    expect(parseTime(read.columns[0])).toBe(event.time);
  });

  it("a message never exceeds NATS's limit, and is cut if it would", () => {
    const text = '\u0001é😀"'.repeat(20_000);
    const huge = eventOf(Array.from({ length: 9 }, (_, at) => (at === 7 ? JSON.stringify({ text }) : text)));
    for (const room of [4_096, 65_536, 2 ** 20]) {
      const { body, cut } = formatFleet(huge, 'web1', 0, room);
      expect(cut).toBe(true);
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(room);
      const read = parseFleet(subjectOf('web1', huge), body);
      if (typeof read === 'string') throw new Error(read);
      expect(JSON.parse(String(read.columns[7]))).toMatchObject({
        cut_bytes: Buffer.byteLength(JSON.stringify({ text })),
      });
    }
  });

  it('rejects a message whose server differs from its subject, which permissions protect', () => {
    const { body } = formatFleet(plainEvent, 'web1', 0, 2 ** 20);
    expect(parseFleet(subjectOf('web2', plainEvent), body)).toContain('another server');
  });

  it('rejects any bytes without an exception', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        expect(typeof parseFleet('postern.audit.web1.auth.login_failure', body)).toBe('string');
      }),
    );
    expect(parseFleet('postern.audit.web1', '{}')).toContain('subject');
  });
});
