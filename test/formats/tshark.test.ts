import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import type { BodyFormat } from '../../src/formats/body-formats.js';
import { facilities, severities } from '../../src/formats/priority.js';
import { bsdTimestamp } from '../../src/formats/rfc3164.js';
import { headerField, messageId, rfc5424Timestamp } from '../../src/formats/rfc5424.js';
import { createFormatter, type SyslogFormatOptions } from '../../src/formats/syslog-message.js';
import { installed } from '../support/installed.js';
import { anyEvent } from './events.js';
import { captureOf } from './pcap.js';

const here = installed('tshark', 'tshark');
const formats: readonly BodyFormat[] = ['ecs', 'ocsf', 'cef', 'leef', 'text'];

describe.skipIf(!here)("Wireshark's dissector reads", () => {
  let file = '';
  /** Debian 13's tshark writes a backslash as two. */
  let doubles = false;
  beforeAll(() => {
    file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'postern-tshark-')), 'syslog.pcap');
    doubles = dissect(['<13>1 - a\\b - - - - x'], ['syslog.hostname']).rows[0]?.[0] === 'a\\\\b';
  });
  afterAll(() => {
    fs.rmSync(path.dirname(file), { recursive: true, force: true });
  });

  /** The text as this tshark prints it. */
  const printed = (text: string): string => (doubles ? text.replaceAll('\\', '\\\\') : text);

  /** The given fields of each message, and the dissector's complaints. */
  function dissect(
    messages: readonly string[],
    fields: readonly string[],
  ): { rows: string[][]; faults: string } {
    fs.writeFileSync(file, captureOf(messages));
    const run = (...args: string[]) =>
      execFileSync('tshark', ['-n', '-r', file, ...args], {
        encoding: 'utf8',
        maxBuffer: 2 ** 28,
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, TZ: 'UTC' },
      });
    const wanted = fields.flatMap((field) => ['-e', field]);
    const text = run('-T', 'fields', ...wanted);
    const rows = text.split('\n').slice(0, -1);
    return {
      rows: rows.map((row) => row.split('\t')),
      faults: run('-Y', '_ws.malformed or _ws.expert or not syslog'),
    };
  }

  const base: SyslogFormatOptions = {
    format: 'ecs',
    envelope: 'rfc5424',
    facility: 'authpriv',
    appName: 'postern-auditd',
    procId: '4711',
    structuredDataId: 'audit@32473',
    bom: false,
    maxMessageSize: 8_192,
  };
  const some: readonly AuditEvent[] = here ? fc.sample(anyEvent(catalog), 300) : [];

  test.each(formats)('Wireshark reads RFC 5424 around %s without a malformed mark', (format) => {
    const names = ['version', 'facility', 'level', 'timestamp', 'hostname', 'appname', 'procid', 'msgid'];
    const { rows, faults } = dissect(
      some.map(createFormatter({ ...base, format })),
      names.map((name) => `syslog.${name}`),
    );
    expect(faults).toBe('');
    expect(rows).toHaveLength(some.length);
    some.forEach((event, at) => {
      const [version, facility, level, time, host, app, proc, id] = rows[at] ?? [];
      expect([version, facility, level, host, app, proc]).toEqual([
        '1',
        String(facilities.authpriv),
        String(severities[event.type.severity]),
        printed(headerField(event.server, 255)),
        'postern-auditd',
        '4711',
      ]);
      // Wireshark 4.0's dissector returns MSGID and everything after it as one field.
      expect(id?.split(' ', 1)[0]).toBe(printed(messageId(event.action)));
      const sent = rfc5424Timestamp(event.time);
      if (sent !== '-')
        expect(Date.parse(`${time?.replace(/(\.\d{3})\d* UTC$/, '$1')} UTC`)).toBe(event.time);
    });
  });

  test.each(formats)('Wireshark reads RFC 3164 around %s without a malformed mark', (format) => {
    const { rows, faults } = dissect(
      some.map(createFormatter({ ...base, format, envelope: 'rfc3164', zone: 'utc' })),
      ['syslog.timestamp_rfc3164', 'syslog.hostname'],
    );
    expect(faults).toBe('');
    some.forEach((event, at) => {
      const sendable = rfc5424Timestamp(event.time) !== '-' && event.time !== null;
      const time = bsdTimestamp(sendable ? event.time : event.ingested, 'utc');
      expect(rows[at]).toEqual([time, printed(headerField(event.server, 255))]);
    });
  });
});
