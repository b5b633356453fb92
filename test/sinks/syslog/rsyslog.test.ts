import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, HERE, type Identity } from './certificates.js';
import { events, messages, Shipping, syslog } from './lab.js';
import { freePort } from './receivers.js';
import { type Ports, Rsyslog, withoutRsyslog } from './rsyslog.js';

const COUNT = Number(process.env.SYSLOG_EVENTS ?? 10_000);

describe.skipIf(withoutRsyslog())('rsyslog gets every event, in order and byte by byte', () => {
  let authority: Authority;
  let client: Identity;
  let rsyslog: Rsyslog;
  let ports: Ports;
  const list = events(1, COUNT);

  beforeAll(async () => {
    authority = new Authority();
    client = authority.issue('client', 'DNS:client.example.net');
    ports = {
      udp: await freePort(),
      tcp: await freePort(),
      tls: await freePort(),
      relp: await freePort(),
      relpTls: await freePort(),
    };
    rsyslog = new Rsyslog({ ports, server: authority.issue('server', HERE), ca: authority.cert });
    await rsyslog.start();
  });

  afterAll(async () => {
    await rsyslog?.close();
    authority?.remove();
  });

  async function ship(
    input: Parameters<Rsyslog['lines']>[0],
    config: Record<string, unknown>,
  ): Promise<void> {
    const before = rsyslog.lines(input).length;
    const sink = syslog(config);
    const shipping = new Shipping(sink, list);
    await shipping.until(COUNT);
    await sink.close();
    await expect.poll(() => rsyslog.lines(input).length - before, { timeout: 20_000 }).toBe(COUNT);
    expect(rsyslog.lines(input).slice(before)).toEqual(messages(list, config));
    expect(shipping.errors).toEqual([]);
  }

  it('by UDP', () => ship('udp', { transport: 'udp', targets: [`127.0.0.1:${ports.udp}`] }));

  it('by TCP, counted', () => ship('tcp', { transport: 'tcp', targets: [`localhost:${ports.tcp}`] }));

  it('by TCP, line by line', () =>
    ship('tcp', { transport: 'tcp', framing: 'newline', targets: [`127.0.0.1:${ports.tcp}`] }));

  it('by TLS', () =>
    ship('tls', { transport: 'tls', targets: [`localhost:${ports.tls}`], tls: { ca: authority.cert } }));

  it('by RELP', () => ship('relp', { transport: 'relp', targets: [`127.0.0.1:${ports.relp}`] }));

  it('by RELP over TLS, with a client certificate', () =>
    ship('relpTls', {
      transport: 'relp',
      targets: [`localhost:${ports.relpTls}`],
      tls: { ca: authority.cert, cert: client.cert, key: client.key },
    }));

  it('by a unix datagram socket', () =>
    ship('datagram', { transport: 'unix', targets: [rsyslog.datagramSocket] }));

  it('by a unix stream socket', () =>
    ship('stream', { transport: 'unix-stream', targets: [rsyslog.streamSocket] }));

  it.each(['cef', 'leef', 'ocsf', 'text'])('in the format %s', async (format) => {
    await ship('relp', { transport: 'relp', targets: [`127.0.0.1:${ports.relp}`], format });
  });

  it('and refuses RELP over TLS without a client certificate: check says so', async () => {
    const findings = await syslog({
      transport: 'relp',
      targets: [`localhost:${ports.relpTls}`],
      tls: { ca: authority.cert },
      connect_timeout: '3s',
    }).check();
    expect(findings.find(({ level }) => level === 'error')).toBeDefined();
  });

  it('and check finds all of it well', async () => {
    const tls = { ca: authority.cert, cert: client.cert, key: client.key };
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
