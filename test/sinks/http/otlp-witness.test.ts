import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../../src/audit/catalog.js';
import type { AuditEvent } from '../../../src/audit/event.js';
import { httpSink } from '../../../src/config/http.js';
import { createOtlp } from '../../../src/sinks/http/otlp.js';
import { encode, messageAt } from '../../../src/sinks/messages.js';
import { installed } from '../../support/installed.js';
import { readRow } from '../../support/read-events.js';

const PROTO = resolve(import.meta.dirname, '../../data/opentelemetry-proto');
const SERVICE = 'opentelemetry/proto/collector/logs/v1/logs_service.proto';
const REQUEST = 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest';

const hasProtoc = installed('protoc', 'protobuf-compiler');

function protocol(encoding: 'protobuf' | 'json', more: Record<string, unknown> = {}) {
  return createOtlp(
    httpSink.parse({ type: 'http', protocol: 'otlp', url: 'http://127.0.0.1:1/v1/logs', encoding, ...more }),
  );
}

function requestOf(events: readonly AuditEvent[], encoding: 'protobuf' | 'json', more = {}): Buffer {
  const { encoder, bodyOf } = protocol(encoding, more);
  const messages = encode(encoder, events);
  return bodyOf(events.map((_, at) => messageAt(messages, at)));
}

/** The text in which protoc writes a request. */
function byProtoc(request: Buffer): string {
  const { status, stdout, stderr } = spawnSync('protoc', [`-I${PROTO}`, `--decode=${REQUEST}`, SERVICE], {
    input: request,
    maxBuffer: 2 ** 28,
  });
  expect([status, stderr.toString()]).toEqual([0, '']);
  return stdout.toString();
}

/** A request in JSON, in the encoding of protobuf, by Python's protobuf: json_format is strict about names and types. */
function byPython(json: Buffer): Buffer {
  const script = `
import subprocess, sys, tempfile
out = tempfile.mkdtemp()
subprocess.check_call(['protoc', '-I${PROTO}', '--python_out=' + out] + [
  '${join(PROTO, SERVICE)}',
  '${PROTO}/opentelemetry/proto/common/v1/common.proto',
  '${PROTO}/opentelemetry/proto/logs/v1/logs.proto',
  '${PROTO}/opentelemetry/proto/resource/v1/resource.proto'])
sys.path.insert(0, out)
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
request = logs_service_pb2.ExportLogsServiceRequest()
json_format.Parse(sys.stdin.read(), request)
sys.stdout.buffer.write(request.SerializeToString(deterministic=True))
`;
  const { status, stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', script], {
    input: json,
    maxBuffer: 2 ** 28,
  });
  expect([status, stderr.toString()]).toEqual([0, '']);
  return stdout;
}

const TIME = '2026-11-22T20:21:00.123Z';

const login = () =>
  readRow(
    {
      created_at: TIME,
      user_id: 7,
      user_name: 'Zoë',
      user_email: 'zoe@example.net',
      action: 'login_failure',
      resource_type: 'auth',
      resource_id: '9',
      ip_address: '203.0.113.7',
      details: '{"reason":"złe hasło"}',
    },
    { server: 'gateway-1' },
  );

describe.skipIf(!hasProtoc)('an OTLP request', () => {
  it('in protobuf has the names and values of an event, as protoc reads it', () => {
    const event = login();
    const text = byProtoc(requestOf([event], 'protobuf'));
    const nanoseconds = `${Date.parse(TIME)}000000`;
    expect(text).toContain(`time_unix_nano: ${nanoseconds}`);
    expect(text).toContain(`observed_time_unix_nano: ${event.ingested}000000`);
    expect(text).toContain('severity_number: SEVERITY_NUMBER_WARN\n');
    expect(text).toContain('event_name: "postern.auth.login_failure"');
    const value = (key: string) =>
      new RegExp(`key: "${key}"\\s*value \\{\\s*\\w+_value: (.*)`).exec(text)?.[1];
    expect(value('service.name')).toBe('"postern"');
    expect(value('host.name')).toBe('"gateway-1"');
    expect(value('log.record.uid')).toBe(`"${event.id}"`);
    expect(value('client.address')).toBe('"203.0.113.7"');
    expect(value('source.ip')).toBe('"203.0.113.7"');
    expect(value('user.id')).toBe('"7"');
    expect(value('user.name')).toBe('"Zo\\303\\253"');
    expect(value('event.action')).toBe('"auth.login_failure"');
    expect(value('event.sequence')).toBe('4711');
    expect(value('postern.details')).toBe('"{\\"reason\\":\\"z\\305\\202e has\\305\\202o\\"}"');
    expect(text).toMatch(/body \{\s*string_value: "Login failed for Zo\\303\\253"/);
    expect(text).not.toMatch(/^\s*\d+:/m); // no field that the schema does not have
  });

  it('is the same in JSON, as Python reads it, for every event of the catalog', () => {
    const events = catalog.map((type, n) =>
      readRow(
        {
          action: type.action,
          created_at: TIME,
          ip_address: '2001:db8::7',
          user_name: 'ann',
          resource_id: 4,
          details: '{"before":{"name":"ben"},"after":{"name":"Zoë"}}',
        },
        { sequence: n + 1, classify: () => type, revisionOf: n % 7 === 0 ? n + 1 : null },
      ),
    );
    const text = byProtoc(requestOf(events, 'protobuf'));
    expect(text.match(/log_records \{/g)?.length).toBe(events.length);
    expect(text).not.toMatch(/^\s*\d+:/m);
    expect(byProtoc(byPython(requestOf(events, 'json')))).toBe(text);
  }, 120_000);

  it('has a new resource where the server changes', () => {
    const servers = ['a', 'a', 'b', 'a'];
    const events = servers.map((server, n) =>
      readRow({ action: 'update', created_at: TIME }, { server, sequence: n + 1 }),
    );
    const text = byProtoc(requestOf(events, 'protobuf'));
    expect(text.match(/^resource_logs \{/gm)?.length).toBe(3);
    expect(byProtoc(byPython(requestOf(events, 'json')))).toBe(text);
  });

  it('has no time of the event where the row has none that can be read, and times at both ends', () => {
    const events = [
      'soon',
      '1970-01-01T00:00:00Z',
      '9999-12-31T23:59:59.999Z',
      '2262-04-11T23:47:16.854Z',
      '2026-11-22T20:21:00Z',
    ].map((created_at, n) => readRow({ action: 'update', created_at }, { sequence: n + 1 }));
    const text = byProtoc(requestOf(events, 'protobuf'));
    // 1970 is the default value, and the year 9999 has too many nanoseconds.
    expect([...text.matchAll(/ time_unix_nano: (\d+)/g)].map(([, time]) => time)).toEqual([
      '9223372036854000000',
      '1795378860000000000',
    ]);
    expect(text).toMatch(/key: "postern.time"\s*value \{\s*string_value: "9999-12-31T23:59:59.999Z"/);
    expect(text).toMatch(/key: "postern.time"\s*value \{\s*string_value: "soon"/);
    expect(text).toMatch(/key: "postern.time_unknown"\s*value \{\s*string_value: "true"/);
    expect(byProtoc(byPython(requestOf(events, 'json')))).toBe(text);
  });

  it('is readable for hostile texts, and for records of every length around the steps of a varint', () => {
    const texts = ['\u0000\u001b[2J', '\ud800 alone', '“”\u202e', '💥'.repeat(3), '\n\r\t', '"\\'];
    const lengths = [
      0, 1, 60, 80, 90, 100, 127, 128, 129, 15_700, 15_900, 16_100, 16_383, 16_384, 20_000, 100_000,
    ];
    const events = [
      ...texts.map((text, n) =>
        readRow(
          { action: text, user_name: text, resource_id: text, details: JSON.stringify({ [text]: text }) },
          { sequence: n + 1 },
        ),
      ),
      ...lengths.map((length, n) =>
        readRow({ action: 'update', created_at: TIME, user_name: 'x'.repeat(length) }, { sequence: 100 + n }),
      ),
    ];
    const text = byProtoc(requestOf(events, 'protobuf'));
    expect(text.match(/log_records \{/g)?.length).toBe(events.length);
    for (const length of lengths.slice(1))
      expect(text.includes(`string_value: "${'x'.repeat(length)}"`), `${length}`).toBe(true);
  });

  it('shortens an event that is longer than a message may be, marks it, and keeps who it is', () => {
    const long = readRow({
      action: 'update',
      created_at: TIME,
      user_name: 'u'.repeat(50_000),
      details: JSON.stringify({ text: 'd'.repeat(50_000) }),
    });
    for (const encoding of ['protobuf', 'json'] as const) {
      const request = requestOf([long], encoding, { max_request: '16K' });
      expect(request.length).toBeLessThan(16_384);
      const text = byProtoc(encoding === 'json' ? byPython(request) : request);
      expect(text).toMatch(/key: "postern.truncated"/);
      expect(text).toContain(`"${long.id}"`);
    }
  });

  it('shrinks step by step, and stays readable with its id', () => {
    const event = readRow({
      action: 'update',
      created_at: TIME,
      resource_id: 'r'.repeat(5_000),
      details: JSON.stringify({ text: 'd'.repeat(5_000) }),
    });
    for (const encoding of ['protobuf', 'json'] as const) {
      const { encoder, bodyOf, shrink } = protocol(encoding);
      const sizes: number[] = [];
      for (let message: Buffer | null = messageAt(encode(encoder, [event]), 0); message !== null; ) {
        sizes.push(message.length);
        const text = byProtoc(encoding === 'json' ? byPython(bodyOf([message])) : bodyOf([message]));
        expect(text).toContain(`"${event.id}"`);
        message = shrink(message, 1);
      }
      expect(sizes.length).toBe(3);
      expect(sizes.at(-1)).toBeLessThan(2_500);
    }
  });
});
