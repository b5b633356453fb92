import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { httpSink } from '../../../src/config/http.js';
import { createHttpSink } from '../../../src/sinks/http/http-sink.js';
import type { Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import { batch } from '../files/files-fixture.js';
import { Authority } from '../syslog/certificates.js';
import { FaultyReceiver, type ReceiverOptions } from './receiver.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-http-secrets-'));
const receivers: FaultyReceiver[] = [];
const sinks: Sink[] = [];
let authority: Authority;

beforeAll(() => {
  authority = new Authority();
});

afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close();
  for (const receiver of receivers.splice(0)) await receiver.close();
});

afterAll(() => {
  authority.remove();
  rmSync(directory, { recursive: true, force: true });
});

async function receiverOf(options: ReceiverOptions): Promise<FaultyReceiver> {
  const receiver = await FaultyReceiver.start(options);
  receivers.push(receiver);
  return receiver;
}

function sinkOf(config: Record<string, unknown>): Sink {
  const deps = { name: 'http', clock: Date.now, minFree: 0, log: pino({ level: 'silent' }) };
  const sink = createHttpSink(httpSink.parse({ type: 'http', ...config }), deps);
  sinks.push(sink);
  return sink;
}

async function deliver(sink: Sink): Promise<void> {
  await sink.open(null);
  await deliverEvents(sink, batch(1, 10));
}

function secret(text: string): string {
  const path = join(directory, `secret-${Math.random()}`);
  writeFileSync(path, text);
  return path;
}

const told = (findings: Awaited<ReturnType<Sink['check']>>) =>
  findings.map(({ level, what, next }) => `${level}: ${what}${next === undefined ? '' : ` → ${next}`}`);

describe('a connection over TLS', () => {
  const receiverWithTls = (name = 'localhost') => {
    const { cert, key } = authority.issue(`server-${Math.random()}`, `DNS:${name}`);
    return receiverOf({ protocol: 'otlp', tls: { cert: readFileSync(cert), key: readFileSync(key) } });
  };
  const otlp = (receiver: FaultyReceiver, tls: unknown, host = 'localhost') =>
    sinkOf({ protocol: 'otlp', url: `https://${host}:${receiver.port}/v1/logs`, tls });

  it('delivers to a receiver whose certificate the authority has signed', async () => {
    const receiver = await receiverWithTls();
    await deliver(otlp(receiver, { ca: authority.cert }));
    expect(receiver.stored.size).toBe(10);
  });

  it.each<[string, string, (cert: string) => unknown, RegExp]>([
    ['an unknown authority', 'localhost', () => undefined, /not signed by an authority this host knows/],
    ['another name', 'other.example', (ca) => ({ ca }), /is for another name/],
    ['another fingerprint', 'localhost', () => ({ fingerprint: `SHA256:${'ab'.repeat(32)}` }), /fingerprint/],
  ])('sends nothing to a receiver with %s', async (_, name, tls, message) => {
    const receiver = await receiverWithTls(name);
    const sink = otlp(receiver, tls(authority.cert));
    await expect(deliver(sink)).rejects.toThrow(message);
    expect(told(await sink.check()).join()).toMatch(message);
    expect(receiver.requests).toEqual([]);
  });

  it.each<[string, number, RegExp]>([
    [
      'long',
      100,
      /^ok: .* it takes OTLP requests,ok: .* the certificate of the receiver is valid until \d{4}-\d\d-\d\d$/,
    ],
    [
      '29 days',
      29,
      /^ok: .*,warning: .* the certificate of the receiver expires in \d+ days, on .* → Renew it before then$/,
    ],
    ['no more', 0, /^error: .* its certificate has expired .*,warning: .* it showed the certificate of CN=/],
  ])('check says how long the certificate of the receiver is valid: %s', async (_, days, expected) => {
    const { cert, key } = authority.issue(`expires-${days}`, 'DNS:localhost', days);
    const receiver = await receiverOf({
      protocol: 'otlp',
      tls: { cert: readFileSync(cert), key: readFileSync(key) },
    });
    expect(told(await otlp(receiver, { ca: authority.cert }).check()).join()).toMatch(expected);
    expect(receiver.stored.size).toBe(0);
  });

  it('check says how long our own certificate is valid, and that it can not be read', async () => {
    const receiver = await receiverWithTls();
    const own = authority.issue('client', 'DNS:client', 10);
    const sink = otlp(receiver, { ca: authority.cert, cert: own.cert, key: own.key });
    expect(told(await sink.check()).join()).toMatch(
      /the client certificate \(tls\.cert\) expires in \d+ days/,
    );
    const absent = otlp(receiver, { ca: authority.cert, cert: '/absent', key: own.key });
    expect(told(await absent.check()).join()).toMatch(/^error: .*tls\.cert: ENOENT/);
  });

  it('reports a receiver that does not speak TLS', async () => {
    const receiver = await receiverOf({ protocol: 'otlp' });
    await expect(deliver(otlp(receiver, undefined))).rejects.toThrow(/does not speak TLS/);
  });
});

describe('a connection through a proxy', () => {
  let proxy: Server;
  const asked: string[] = [];

  beforeAll(async () => {
    proxy = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(403).end();
    });
    proxy.on('connect', (request, client: net.Socket) => {
      asked.push(`CONNECT ${request.url}`);
      const [host = '', port] = (request.url ?? '').split(':');
      if (host === 'forbidden') return client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      const server = net.connect(Number(port), host, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        server.pipe(client).pipe(server);
      });
      for (const socket of [client, server]) socket.on('error', () => undefined);
      return undefined;
    });
    await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  });

  afterEach(() => asked.splice(0));
  afterAll(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  const via = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

  it('asks for a tunnel to an https receiver, and checks the certificate of the receiver', async () => {
    const { cert, key } = authority.issue('tunnel', 'DNS:localhost');
    const receiver = await receiverOf({
      protocol: 'otlp',
      tls: { cert: readFileSync(cert), key: readFileSync(key) },
    });
    const url = `https://localhost:${receiver.port}/v1/logs`;
    await deliver(sinkOf({ protocol: 'otlp', url, proxy: via(), tls: { ca: authority.cert } }));
    expect(receiver.stored.size).toBe(10);
    expect(asked).toEqual([`CONNECT localhost:${receiver.port}`]);
  });

  it('reports what the proxy answers', async () => {
    const sink = sinkOf({ protocol: 'otlp', url: 'https://forbidden:4318/v1/logs', proxy: via() });
    await expect(deliver(sink)).rejects.toThrow(/the proxy answers 403 to CONNECT/);
  });

  it('sends the whole address for an http receiver', async () => {
    const sink = sinkOf({ protocol: 'otlp', url: 'http://otel.example:4318/v1/logs', proxy: via() });
    await expect(deliver(sink)).rejects.toThrow(/status 403/);
    expect(asked).toEqual(['POST http://otel.example:4318/v1/logs']);
  });
});

describe('credentials', () => {
  it.each([
    ['otlp', 'Bearer s3cret'],
    ['elasticsearch', 'ApiKey s3cret'],
    ['splunk-hec', 'Splunk s3cret'],
  ] as const)('are sent as %s expects a token', async (protocol, expected) => {
    const receiver = await receiverOf({ protocol });
    const path = { otlp: 'v1/logs', elasticsearch: 'x/_bulk', 'splunk-hec': 'services/collector/event' }[
      protocol
    ];
    const url = `http://127.0.0.1:${receiver.port}/${path}`;
    await deliver(
      sinkOf({ protocol, url, auth: { token: secret('s3cret\n') }, headers: { 'X-Scope-OrgID': 'a' } }),
    );
    expect(receiver.requests[0]?.headers).toMatchObject({ authorization: expected, 'x-scope-orgid': 'a' });
  });

  it('are read again for each request', async () => {
    const receiver = await receiverOf({ protocol: 'otlp' });
    const [password, header] = [secret('pass word'), secret('key')];
    const auth = { user: 'ann', password, header: { name: 'DD-API-KEY', file: header } };
    const sink = sinkOf({ protocol: 'otlp', url: `http://127.0.0.1:${receiver.port}/v1/logs`, auth });
    await deliver(sink);
    writeFileSync(header, 'renewed');
    await deliverEvents(sink, batch(11, 20));
    expect(receiver.requests.map(({ headers }) => [headers.authorization, headers['dd-api-key']])).toEqual([
      [`Basic ${Buffer.from('ann:pass word').toString('base64')}`, 'key'],
      [`Basic ${Buffer.from('ann:pass word').toString('base64')}`, 'renewed'],
    ]);
  });

  it.each([
    ['an empty file', '', /auth.token: .* is empty/],
    ['two lines', 'geheim\nzwei', /auth.token: .* has more than one line/],
  ])('that no header can have are reported without their text: %s', async (_, text, message) => {
    const sink = sinkOf({
      protocol: 'otlp',
      url: 'http://127.0.0.1:1/v1/logs',
      auth: { token: secret(text) },
    });
    const error = await sink.open(null).catch((thrown: unknown) => String(thrown));
    expect(error).toMatch(message);
    expect(error).not.toContain('geheim');
  });

  it('that are missing are reported with their key', async () => {
    const path = join(directory, 'absent');
    const sink = sinkOf({ protocol: 'otlp', url: 'http://127.0.0.1:1/v1/logs', auth: { token: path } });
    await expect(sink.open(null)).rejects.toThrow(/auth.token: ENOENT/);
    chmodSync(directory, 0o700);
  });
});

describe('check', () => {
  it.each([
    ['otlp', 'v1/logs', /^ok: 127\.0\.0\.1:\d+: it takes OTLP requests$/],
    ['elasticsearch', 'audit/_bulk', /^ok: .* the credentials may create documents in audit$/],
    ['splunk-hec', 'services/collector/event', /^ok: .* it accepts the token$/],
  ] as const)('asks a receiver of %s without storing anything', async (protocol, path, expected) => {
    const receiver = await receiverOf({ protocol });
    const sink = sinkOf({ protocol, url: `http://127.0.0.1:${receiver.port}/${path}` });
    expect(told(await sink.check())).toEqual([expect.stringMatching(expected)]);
    expect(receiver.stored.size).toBe(0);
    expect(receiver.complaints).toEqual([]);
  });

  it('names the privilege that an API key lacks', async () => {
    const receiver = await receiverOf({ protocol: 'elasticsearch' });
    const body = JSON.stringify({ has_all_requested: false });
    receiver.fault = ({ url }) => (url === '/_security/user/_has_privileges' ? { answer: 200, body } : null);
    const sink = sinkOf({
      protocol: 'elasticsearch',
      url: `http://127.0.0.1:${receiver.port}/_bulk`,
      index: 'audit',
    });
    expect(told(await sink.check())[0]).toMatch(
      /^error: .* may not create documents in audit → .* create_doc/,
    );
  });

  it('makes do with an empty request where there is no API of privileges, as in OpenSearch', async () => {
    const receiver = await receiverOf({ protocol: 'elasticsearch' });
    receiver.fault = ({ url }) =>
      url.includes('_security') ? { answer: 400, body: '{"error":"no handler"}' } : null;
    const sink = sinkOf({
      protocol: 'elasticsearch',
      url: `http://127.0.0.1:${receiver.port}/_bulk`,
      index: 'audit',
    });
    expect(told(await sink.check())).toEqual([expect.stringMatching(/^ok: .* it answers as a bulk API/)]);
  });

  it.each<[string, number, string, RegExp]>([
    ['a refused token', 401, '', /^error: .* status 401 → Check the credentials/],
    ['a login page', 200, '<html>', /^error: .* is not of this protocol: <html> → Check url/],
    ['a redirect', 302, '', /^error: .* a redirect → Redirects are not followed/],
    ['a busy receiver', 503, '', /^warning: .* busy/],
  ])('reports %s', async (_, answer, body, expected) => {
    const receiver = await receiverOf({ protocol: 'otlp' });
    receiver.fault = () => ({ answer, body });
    const sink = sinkOf({ protocol: 'otlp', url: `http://127.0.0.1:${receiver.port}/v1/logs` });
    expect(told(await sink.check())[0]).toMatch(expected);
  });

  it('warns of credentials in clear text', async () => {
    const url = 'http://192.0.2.1:4318/v1/logs';
    const sink = sinkOf({ protocol: 'otlp', url, auth: { token: secret('x') }, timeout: '1s' });
    expect(told(await sink.check()).join('\n')).toMatch(/cross the network in clear text → Use https/);
  });
});
