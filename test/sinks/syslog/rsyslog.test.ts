import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from './certificates.js';
import { type Ports, type RsyslogInput, RunningRsyslog, withoutRsyslog } from './rsyslog.js';
import { events, expectToArrive, syslog } from './syslog-fixture.js';

const COUNT = Number(process.env.SYSLOG_EVENTS ?? 10_000);

describe.skipIf(withoutRsyslog())('rsyslog gets every event, in order and byte by byte', () => {
  let rsyslog: RunningRsyslog;
  let client: Identity;
  let ports: Ports;
  const list = events(1, COUNT);

  beforeAll(async () => {
    rsyslog = await RunningRsyslog.start();
    ports = rsyslog.ports;
    client = rsyslog.authority.issue('client', 'DNS:client.example.net');
  });

  afterAll(() => rsyslog?.close());

  const ship = (input: RsyslogInput, config: Record<string, unknown>) =>
    expectToArrive(list, config, () => rsyslog.lines(input));

  it('by UDP', () => ship('udp', { transport: 'udp', targets: [`127.0.0.1:${ports.udp}`] }));

  it('by TCP, counted', () => ship('tcp', { transport: 'tcp', targets: [`localhost:${ports.tcp}`] }));

  it('by TCP, line by line', () =>
    ship('tcp', { transport: 'tcp', framing: 'newline', targets: [`127.0.0.1:${ports.tcp}`] }));

  it('by TLS', () =>
    ship('tls', {
      transport: 'tls',
      targets: [`localhost:${ports.tls}`],
      tls: { ca: rsyslog.authority.cert },
    }));

  it('by RELP', () => ship('relp', { transport: 'relp', targets: [`127.0.0.1:${ports.relp}`] }));

  it('by RELP over TLS, with a client certificate', () =>
    ship('relpTls', {
      transport: 'relp',
      targets: [`localhost:${ports.relpTls}`],
      tls: { ca: rsyslog.authority.cert, cert: client.cert, key: client.key },
    }));

  it('by a unix datagram socket', () =>
    ship('datagram', { transport: 'unix', targets: [rsyslog.datagramSocket] }));

  it('by a unix stream socket', () =>
    ship('stream', { transport: 'unix-stream', targets: [rsyslog.streamSocket] }));

  it.each(['cef', 'leef', 'ocsf', 'text'])('in the format %s', async (format) => {
    await ship('relp', { transport: 'relp', targets: [`127.0.0.1:${ports.relp}`], format });
  });

  it('refuses RELP over TLS without a client certificate, and check reports it', async () => {
    const findings = await syslog({
      transport: 'relp',
      targets: [`localhost:${ports.relpTls}`],
      tls: { ca: rsyslog.authority.cert },
      connect_timeout: '3s',
    }).check();
    expect(findings.find(({ level }) => level === 'error')).toBeDefined();
  });

  it('and check finds all of it well', async () => {
    const tls = { ca: rsyslog.authority.cert, cert: client.cert, key: client.key };
    const each = await Promise.all([
      syslog({ transport: 'tcp', targets: [`localhost:${ports.tcp}`] }).check(),
      syslog({ transport: 'tls', targets: [`localhost:${ports.tls}`], tls }).check(),
      syslog({ transport: 'relp', targets: [`localhost:${ports.relp}`] }).check(),
      syslog({ transport: 'relp', targets: [`localhost:${ports.relpTls}`], tls }).check(),
      syslog({ transport: 'unix', targets: [rsyslog.datagramSocket] }).check(),
      syslog({ transport: 'unix-stream', targets: [rsyslog.streamSocket] }).check(),
    ]);
    expect(each.flat().filter(({ level }) => level !== 'ok')).toEqual([]);
    expect(
      each
        .flat()
        .map(({ what }) => what)
        .join('\n'),
    ).toMatch(/RELP, TLSv1\.3\), its software is librelp/);
  });
});
