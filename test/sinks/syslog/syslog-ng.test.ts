import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatEcs } from '../../../src/formats/ecs.js';
import { Authority, HERE, type Identity } from './certificates.js';
import { freePorts } from './receivers.js';
import { events, expectToArrive, Shipping, syslog } from './syslog-fixture.js';
import {
  removeSyslogNg,
  SyslogNg,
  type SyslogNgInput,
  type SyslogNgPorts,
  withoutSyslogNg,
} from './syslog-ng.js';

/** A body as syslog-ng 3 knows it: every value as text, a list joined, a dot in a name as a path. */
function asSyslogNg(value: unknown): unknown {
  if (Array.isArray(value)) return value.join(',');
  if (typeof value !== 'object' || value === null) return String(value);
  const { 'log.level': level, ...members } = value as Record<string, unknown>;
  const all = level === undefined ? members : { ...members, log: { level } };
  return Object.fromEntries(Object.entries(all).map(([name, member]) => [name, asSyslogNg(member)]));
}

const COUNT = Number(process.env.SYSLOG_EVENTS ?? 10_000);

describe.skipIf(withoutSyslogNg())('syslog-ng gets every event, in order and byte by byte', () => {
  let authority: Authority;
  let client: Identity;
  let syslogNg: SyslogNg;
  let ports: SyslogNgPorts;
  const list = events(1, COUNT);

  beforeAll(async () => {
    authority = new Authority();
    client = authority.issue('client', 'DNS:client.example.net');
    ports = await freePorts('udp', 'network', 'syslog', 'tls', 'json');
    syslogNg = new SyslogNg(ports, authority.issue('server', HERE), authority.cert);
    await syslogNg.start();
  });

  afterAll(async () => {
    await syslogNg?.close();
    authority?.remove();
    removeSyslogNg();
  });

  const ship = (input: SyslogNgInput, config: Record<string, unknown>) =>
    expectToArrive(list, config, () => syslogNg.lines(input));

  it('by UDP', () => ship('udp', { transport: 'udp', targets: [`127.0.0.1:${ports.udp}`] }));

  it('by TCP, line by line: network()', () =>
    ship('network', { transport: 'tcp', framing: 'newline', targets: [`127.0.0.1:${ports.network}`] }));

  it('by TCP, counted: syslog()', () =>
    ship('syslog', { transport: 'tcp', targets: [`127.0.0.1:${ports.syslog}`] }));

  it('by TLS with client certificates, counted: syslog()', () =>
    ship('tls', {
      transport: 'tls',
      targets: [`localhost:${ports.tls}`],
      tls: { ca: authority.cert, cert: client.cert, key: client.key },
    }));

  it('by a unix datagram socket', () =>
    ship('datagram', { transport: 'unix', envelope: 'rfc3164', targets: [syslogNg.datagramSocket] }));

  it('by a unix stream socket', () =>
    ship('stream', { transport: 'unix-stream', envelope: 'rfc3164', targets: [syslogNg.streamSocket] }));

  it('and its json-parser finds each member of each body', async () => {
    const sink = syslog({ transport: 'tcp', framing: 'newline', targets: [`127.0.0.1:${ports.json}`] });
    const shipping = new Shipping(sink, list);
    await shipping.until(COUNT);
    await sink.close();
    await expect.poll(() => syslogNg.lines('json').length, { timeout: 60_000, interval: 50 }).toBe(COUNT);
    const found = syslogNg.lines('json').map((line) => (JSON.parse(line) as { found: unknown }).found);
    expect(found).toEqual(list.map((event) => asSyslogNg(JSON.parse(formatEcs(event)))));
  });

  it('and check sees what its own TLS wants', async () => {
    const target = { transport: 'tls', targets: [`localhost:${ports.tls}`] };
    const without = await syslog({ ...target, tls: { ca: authority.cert } }).check();
    expect(without[0]).toMatchObject({ level: 'error', next: expect.stringMatching(/tls\.cert/) });
    const tls = { ca: authority.cert, cert: client.cert, key: client.key };
    expect((await syslog({ ...target, tls }).check()).map(({ level }) => level)).toEqual(['ok', 'ok', 'ok']);
  });
});
