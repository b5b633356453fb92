import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import type { BodyFormat } from '../../src/formats/body-formats.js';
import { priority } from '../../src/formats/priority.js';
import { bsdTimestamp } from '../../src/formats/rfc3164.js';
import { messageId, rfc5424Timestamp } from '../../src/formats/rfc5424.js';
import { createFormatter, type SyslogFormatOptions } from '../../src/formats/syslog-message.js';
import { installed } from '../support/installed.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, plainEvent } from './events.js';
import { parseRfc5424 } from './rfc5424-parser.js';

const here = installed('rsyslogd', 'rsyslog');

/** libfastjson keeps whole numbers within 64 bits. */
function asInt64(_key: string, value: unknown): unknown {
  if (typeof value !== 'number' || Math.abs(value) < 2 ** 63 || Math.abs(value) >= 1e21) return value;
  return Math.sign(value) * 2 ** 63;
}

/** The properties that rsyslog read from a message. */
interface Received {
  readonly pri: string;
  readonly time: string;
  readonly version: string;
  readonly host: string;
  readonly app: string;
  readonly proc: string;
  readonly msgid: string;
  readonly sd: string;
  readonly msg: string;
  readonly raw: string;
  readonly tag: string;
  /** The members that mmjsonparse and mmpstrucdata found. */
  readonly all: Record<string, unknown>;
}

function configuration(directory: string): string {
  const properties = {
    pri: 'pri',
    version: 'protocol-version',
    host: 'hostname',
    app: 'app-name',
    proc: 'procid',
    msgid: 'msgid',
    sd: 'structured-data',
    msg: 'msg',
    raw: 'rawmsg',
    tag: 'syslogtag',
  };
  const members = Object.entries(properties).map(
    ([outname, name]) => `property(outname="${outname}" name="${name}" format="jsonf") constant(value=",")`,
  );
  return `
global(workDirectory="${directory}" maxMessageSize="64k" variables.caseSensitive="on")
main_queue(queue.type="Direct")
module(load="imptcp")
module(load="mmjsonparse")
module(load="mmpstrucdata")
template(name="all" type="list") {
  constant(value="{")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf") constant(value=",")
  ${members.join('\n  ')}
  constant(value="\\"all\\":") property(name="$!") constant(value="}\\n")
}
input(type="imptcp" path="${directory}/socket" unlink="on")
action(type="mmpstrucdata" sd_name.lowercase="off")
action(type="mmjsonparse" cookie="")
action(type="omfile" file="${directory}/out" template="all")
`;
}

describe.skipIf(!here)('rsyslog reads', () => {
  let directory = '';
  let daemon: ChildProcess | null = null;
  let errors = '';

  beforeAll(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-rsyslog-'));
    const file = path.join(directory, 'rsyslog.conf');
    fs.writeFileSync(file, configuration(directory));
    const child = spawn('rsyslogd', ['-n', '-i', path.join(directory, 'pid'), '-f', file]);
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    daemon = child;
    for (let i = 0; i < 200 && !fs.existsSync(path.join(directory, 'socket')); i++) await sleep(50);
  });

  afterAll(async () => {
    if (daemon !== null && daemon.exitCode === null) {
      const ended = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      await ended;
    }
    fs.rmSync(directory, { recursive: true, force: true });
  });

  /** Sends the messages over one connection with octet counting, and returns what rsyslog wrote for each. */
  async function receive(messages: readonly string[]): Promise<Received[]> {
    const out = path.join(directory, 'out');
    const read = () => (fs.existsSync(out) ? fs.readFileSync(out, 'utf8').split('\n') : []);
    const before = Math.max(0, read().length - 1);
    const socket = net.connect(path.join(directory, 'socket'));
    await once(socket, 'connect');
    for (const message of messages) {
      const bytes = Buffer.from(message);
      socket.write(`${bytes.length} `);
      if (!socket.write(bytes)) await once(socket, 'drain');
    }
    // A control character would change the number of lines.
    const last = `<14>1 - - - - end - the last of ${messages.length}`;
    socket.end(`${last.length} ${last}`);
    for (let i = 0; i < 400; i++) {
      await sleep(50);
      const lines = read().slice(before);
      if (!lines.at(-2)?.includes(last)) continue;
      return lines.slice(0, -2).map((line) => JSON.parse(line) as Received);
    }
    throw new Error(`rsyslog did not write the last message within 20 s: ${errors}`);
  }

  const base: SyslogFormatOptions = {
    format: 'ecs',
    envelope: 'rfc5424',
    facility: 'authpriv',
    appName: 'postern-auditd',
    procId: '4711',
    structuredDataId: null,
    bom: false,
    maxMessageSize: 8_192,
  };
  const some: readonly AuditEvent[] = here ? fc.sample(anyEvent(catalog), 400) : [];

  function expectHeader(event: AuditEvent, received: Received): void {
    expect(received).toMatchObject({
      pri: String(priority('authpriv', event.type.severity)),
      version: '1',
      app: 'postern-auditd',
      proc: '4711',
      msgid: messageId(event.action),
    });
    const sent = rfc5424Timestamp(event.time);
    if (sent !== '-') expect(received.time).toBe(sent);
  }

  test.each<BodyFormat>(['ecs', 'ocsf', 'cef', 'leef', 'text'])(
    'rsyslog reads each field of the header and the body %s of any event as sent',
    async (format) => {
      const messages = some.map(createFormatter({ ...base, format }));
      const received = await receive(messages);
      expect(received).toHaveLength(messages.length);
      messages.forEach((message, at) => {
        const got = received[at];
        const event = some[at];
        if (got === undefined || event === undefined) throw new Error('unreachable');
        expectHeader(event, got);
        expect(got.raw).toBe(Buffer.from(message).toString());
        expect(got.msg).toBe(Buffer.from(parseRfc5424(message).message).toString());
      });
    },
  );

  test('rsyslog reads the members of a JSON body with mmjsonparse', async () => {
    for (const format of ['ecs', 'ocsf'] as const) {
      const messages = some.map(createFormatter({ ...base, format }));
      const received = await receive(messages);
      messages.forEach((message, at) => {
        expect(received[at]?.all).toEqual(JSON.parse(parseRfc5424(message).message, asInt64));
      });
    }
  });

  test('rsyslog reads structured data with mmpstrucdata', async () => {
    const messages = some.map(createFormatter({ ...base, format: 'text', structuredDataId: 'audit@32473' }));
    const received = await receive(messages);
    messages.forEach((message, at) => {
      expect(received[at]?.all['rfc5424-sd']).toEqual(parseRfc5424(message).structuredData);
    });
  });

  test('rsyslog reads the old format and dates it in this year', async () => {
    const messages = catalog
      .map((type) => readBack(plainEvent, { type, action: type.action }))
      .map(createFormatter({ ...base, envelope: 'rfc3164', zone: 'utc' }));
    const received = await receive(messages);
    for (const got of received) {
      expect(got).toMatchObject({ version: '0', host: 'pp1.example.net', tag: 'postern-auditd[4711]:' });
      expect(got.time.slice(5, 19)).toBe('11-22T20:21:00');
      expect(got.all).toMatchObject({ user: { name: 'jan.kowalski' } });
    }
    expect(bsdTimestamp(plainEvent.time ?? 0, 'utc')).toBe('Nov 22 20:21:00');
  });
});
