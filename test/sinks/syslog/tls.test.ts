import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { deliverEvents } from '../../support/deliver.js';
import { installed } from '../../support/installed.js';
import { batch } from '../files/files-fixture.js';
import { Authority, HERE, type Identity } from './certificates.js';
import { CountedReader, listen } from './receivers.js';
import { syslog } from './syslog-fixture.js';

const openssl = installed('openssl', 'openssl');

let authority: Authority;
let stranger: Authority;
const ids: Record<string, Identity> = {};
const running: Array<{ close(): Promise<void> }> = [];
const never = new AbortController().signal;

beforeAll(() => {
  authority = new Authority();
  stranger = new Authority();
  ids.good = authority.issue('good', HERE);
  ids.expired = authority.issue('expired', HERE, 0);
  ids.soon = authority.issue('soon', HERE, 12);
  ids.other = authority.issue('other', 'DNS:siem.example.net');
  ids.client = authority.issue('client', 'DNS:client.example.net');
  ids.stranger = stranger.issue('stranger', HERE);
});

afterAll(() => {
  authority.remove();
  stranger.remove();
});

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

async function collector(identity: string, options: tls.TlsOptions = {}) {
  const reader = new CountedReader();
  const server = tls.createServer({ ...pem(ids[identity]), ...options }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  running.push({ close: () => new Promise((resolve) => server.close(() => resolve())) });
  return { got: reader.messages, port };
}

function pem(identity: Identity | undefined) {
  if (identity === undefined) throw new Error('no such identity');
  return { cert: readFileSync(identity.cert), key: readFileSync(identity.key) };
}

function sinkFor(port: number, config: Record<string, unknown>, host = 'localhost') {
  const sink = syslog(
    { transport: 'tls', targets: [`${host}:${port}`], connect_timeout: '2s', tls: config },
    (event) => `event ${event.sequence}`,
  );
  running.unshift(sink);
  return sink;
}

describe.skipIf(!openssl)('TLS', () => {
  it.each(['localhost', '127.0.0.1'])(
    'TLS to %s: certificate and name are checked, events arrive',
    async (host) => {
      const { got, port } = await collector('good');
      const sink = sinkFor(port, { ca: authority.cert }, host);
      await sink.open(null);
      await deliverEvents(sink, batch(1, 1_000), never);
      await expect.poll(() => got.length).toBe(1_000);
      expect(got[999]).toBe('event 1000');
      expect(sink.figures()).toMatchObject({ connected: true, tls: 'TLSv1.3' });
      await sink.close();
      expect(sink.finalState?.()).toContain('"ending":"orderly"');
    },
  );

  it.each<[string, string, RegExp]>([
    ['has expired', 'expired', /has expired \(CERT_HAS_EXPIRED\)\. Renew/],
    ['is for another name', 'other', /for another name \(DNS:siem\.example\.net\), not for localhost/],
    ['is signed by a stranger', 'stranger', /not signed by an authority this host knows.*tls\.ca/],
  ])('TLS rejects a certificate that %s, and sends nothing', async (_, identity, message) => {
    const { got, port } = await collector(identity);
    await expect(sinkFor(port, { ca: authority.cert }).open(null)).rejects.toThrow(message);
    expect(got).toEqual([]);
  });

  it('the TLS error explains how a certificate must list an address that it has as a DNS name', async () => {
    ids.dns = authority.issue('dns', 'DNS:127.0.0.1');
    const { got, port } = await collector('dns');
    await expect(sinkFor(port, { ca: authority.cert }, '127.0.0.1').open(null)).rejects.toThrow(
      /has the address 127\.0\.0\.1 as a DNS name.*subjectAltName=IP:127\.0\.0\.1, put a host name of it into targets/,
    );
    expect(got).toEqual([]);
  });

  it('the TLS error names a missing intermediate authority, and the full chain is accepted', async () => {
    const between = new Authority(authority);
    const leaf = between.issue('leaf', HERE);
    ids.leaf = leaf;
    const { port } = await collector('leaf');
    await expect(sinkFor(port, { ca: authority.cert }).open(null)).rejects.toThrow(
      /but by CN=test intermediate \(UNABLE_TO_\w+\)\. Set tls\.ca .*let the collector send the full chain, or add it to the file of tls\.ca/,
    );
    const chain = [leaf.cert, between.cert].map((path) => readFileSync(path, 'utf8')).join('');
    const whole = await collector('leaf', { cert: chain });
    const sink = sinkFor(whole.port, { ca: authority.cert });
    await sink.open(null);
    await deliverEvents(sink, batch(1, 3), never);
    await expect.poll(() => whole.got.length).toBe(3);
    between.remove();
  });

  it('TLS does not trust a private authority unless configured', async () => {
    const { port } = await collector('good');
    await expect(sinkFor(port, {}).open(null)).rejects.toThrow(/not signed by an authority/);
  });

  it('TLS checks the name in server_name', async () => {
    const { port } = await collector('other');
    await sinkFor(port, { ca: authority.cert, server_name: 'siem.example.net' }).open(null);
    await expect(
      sinkFor(port, { ca: authority.cert, server_name: 'siem.example.org' }).open(null),
    ).rejects.toThrow(/not for siem\.example\.org/);
  });

  it.each(['good', 'expired', 'other', 'stranger'])(
    'TLS trusts a pinned certificate: %s',
    async (identity) => {
      const { got, port } = await collector(identity);
      const sink = sinkFor(port, {
        fingerprint: [`SHA256:${'00:'.repeat(31)}00`, `SHA256:${ids[identity]?.fingerprint}`],
      });
      await sink.open(null);
      await deliverEvents(sink, batch(1, 3), never);
      await expect.poll(() => got.length).toBe(3);
    },
  );

  it('TLS with a fingerprint and a ca requires both', async () => {
    const good = await collector('good');
    const fingerprint = ids.good?.fingerprint ?? '';
    await sinkFor(good.port, { ca: authority.cert, fingerprint }).open(null);
    await expect(sinkFor(good.port, { ca: stranger.cert, fingerprint }).open(null)).rejects.toThrow(
      /not signed/,
    );
    const other = await collector('stranger');
    await expect(sinkFor(other.port, { fingerprint }).open(null)).rejects.toThrow(
      new RegExp(`fingerprint SHA256:${ids.stranger?.fingerprint}, which tls.fingerprint does not list`),
    );
  });

  it('TLS presents a client certificate if the collector requests one', async () => {
    const { got, port } = await collector('good', {
      requestCert: true,
      rejectUnauthorized: true,
      ca: readFileSync(authority.cert),
    });
    const sink = sinkFor(port, { ca: authority.cert, cert: ids.client?.cert, key: ids.client?.key });
    await sink.open(null);
    await deliverEvents(sink, batch(1, 3), never);
    await expect.poll(() => got.length).toBe(3);

    const without = sinkFor(port, { ca: authority.cert });
    // TLS 1.3 tells of it only after the handshake.
    await without.open(null).catch(() => undefined);
    await expect.poll(() => without.figures().connected).toBe(false);
    await expect(deliverEvents(without, batch(1, 1), never)).rejects.toThrow(
      /client certificate|rejected our certificate|reset|not connected/,
    );
  });

  it('TLS uses no version older than 1.2 or min_version', async () => {
    const old = await collector('good', {
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'ALL@SECLEVEL=0',
    });
    await expect(sinkFor(old.port, { ca: authority.cert }).open(null)).rejects.toThrow(/TLS/);
    const twelve = await collector('good', { maxVersion: 'TLSv1.2' });
    const sink = sinkFor(twelve.port, { ca: authority.cert });
    await sink.open(null);
    expect(sink.figures().tls).toBe('TLSv1.2');
    await expect(sinkFor(twelve.port, { ca: authority.cert, min_version: '1.3' }).open(null)).rejects.toThrow(
      /TLS/,
    );
  });

  it('a port without TLS and a missing file are reported', async () => {
    const plain = await listen((socket) => socket.write('220 hello\r\n'));
    running.push(plain);
    await expect(sinkFor(plain.port, { ca: authority.cert }).open(null)).rejects.toThrow(
      /does not speak TLS/,
    );
    await expect(sinkFor(plain.port, { ca: '/nowhere/ca.pem' }).open(null)).rejects.toThrow(
      /tls\.ca: .*ENOENT/,
    );
    await expect(
      sinkFor(plain.port, { ca: authority.cert, cert: ids.good?.cert, key: ids.client?.key }).open(null),
    ).rejects.toThrow(/tls\.ca, tls\.cert or tls\.key can't be used/);
  });
});

describe.skipIf(!openssl)('check', () => {
  it('check reports how long certificates are valid', async () => {
    const { port } = await collector('good');
    const findings = await sinkFor(port, {
      ca: authority.cert,
      cert: ids.soon?.cert,
      key: ids.soon?.key,
    }).check();
    expect(findings.map(({ level, what }) => `${level} ${what}`)).toEqual([
      expect.stringMatching(/^warning the client certificate \(tls\.cert\) expires in 11 days, on 20\d\d-/),
      expect.stringMatching(/^ok localhost:\d+: connected in \d+ ms \(TLSv1\.3\)$/),
      expect.stringMatching(/^ok localhost:\d+: the certificate of the collector is valid until 20\d\d-/),
    ]);
  });

  it('check warns of a certificate that expires soon', async () => {
    const { port } = await collector('soon');
    const findings = await sinkFor(port, { ca: authority.cert }).check();
    expect(findings).toContainEqual({
      level: 'warning',
      what: expect.stringMatching(/the certificate of the collector expires in 11 days/),
      next: 'Renew it before then',
    });
  });

  it('check shows a rejected certificate and how to pin it', async () => {
    const { port } = await collector('stranger');
    const findings = await sinkFor(port, { ca: authority.cert }).check();
    expect(findings).toEqual([
      {
        level: 'error',
        what: expect.stringMatching(/its certificate is not signed by an authority this host knows/),
        next: expect.stringMatching(/^Set tls\.ca/),
      },
      {
        level: 'warning',
        what: expect.stringMatching(
          /it showed the certificate of CN=stranger, signed by CN=test CA, valid from/,
        ),
        next: expect.stringContaining(`tls: { fingerprint: "SHA256:${ids.stranger?.fingerprint}" }`),
      },
    ]);
  });

  it('check finds a missing client certificate even after a successful handshake', async () => {
    const { port } = await collector('good', {
      requestCert: true,
      rejectUnauthorized: true,
      ca: readFileSync(authority.cert),
    });
    const findings = await sinkFor(port, { ca: authority.cert }).check();
    expect(findings[0]).toMatchObject({ level: 'error', next: expect.stringMatching(/tls\.cert/) });
  });
});
