import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { certificateNames, isAllowedHost } from '../../../src/api/http/allowed-hosts.js';
import { parseConfig } from '../../../src/config/load.js';
import { installed } from '../../support/installed.js';
import { ApiRig } from '../api-fixture.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-hosts-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function allows(host: string, hosts: string[] | null = null, viaProxy = false): boolean {
  const client = { address: '127.0.0.1', secure: false, host, viaProxy };
  return isAllowedHost(client, { config: { hosts }, ownNames: () => ['Gateway-1'] });
}

describe('the Host of a request', () => {
  it.each([
    'localhost',
    'LOCALHOST:8181',
    'localhost.',
    '127.0.0.1:8181',
    '192.0.2.7',
    '[::1]:8181',
    '[2001:db8::7]',
    'gateway-1:81',
    'GATEWAY-1.',
  ])('the Host of a request is allowed: %s', (host) => {
    expect(allows(host)).toBe(true);
    expect(allows(host, ['gateway-1'])).toBe(true);
  });

  it.each([
    'evil.example',
    'gateway-1.evil.example',
    'evil.example:8181',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '',
    ':8181',
    '[evil.example]',
    'user@localhost',
    '127.0.0.1@evil.example',
    'localhost evil.example',
    '0x7f.1',
  ])('the Host of a request is rejected: %s', (host) => {
    expect(allows(host)).toBe(false);
    expect(allows(host, ['audit.example.net'])).toBe(false);
  });

  it('the Host of a request may be any behind a trusted proxy, unless api.hosts is set', () => {
    expect(allows('audit.example.net', null, true)).toBe(true);
    expect(allows('audit.example.net', ['audit.example.net'], true)).toBe(true);
    expect(allows('evil.example', ['audit.example.net'], true)).toBe(false);
  });

  it('patterns in api.hosts match whole labels', () => {
    const hosts = ['*.Example.net'];
    expect(['a.example.net', 'b.a.EXAMPLE.net:81'].every((host) => allows(host, hosts))).toBe(true);
    expect(['example.net', 'badexample.net', 'gateway-1'].some((host) => allows(host, hosts))).toBe(false);
    expect(allows('whatever.example', ['*'])).toBe(true);
  });

  it.each(['["http://a.example"]', '["a b"]', '["a.example:81"]', '[]', 'a.example'])(
    'api.hosts: %s is rejected with its position',
    (value) => {
      expect(() => parseConfig(`api:\n  hosts: ${value}\n`, 'c.yml')).toThrow(/c\.yml:2:\d+: api\.hosts/);
    },
  );

  it.skipIf(!installed('openssl', 'openssl'))('may be a name of the certificate', () => {
    const cert = join(directory, 'cert.pem');
    const make = (...more: string[]) =>
      execFileSync(
        'openssl',
        `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout ${join(directory, 'key.pem')} -out ${cert}`
          .split(' ')
          .concat(more),
        { stdio: 'ignore' },
      );
    make(
      '-subj',
      '/O=x/CN=old.example',
      '-addext',
      'subjectAltName=DNS:a.example,DNS:*.b.example,IP:192.0.2.1',
    );
    expect(certificateNames(cert)).toEqual(['a.example', '*.b.example', 'old.example']);
    expect(certificateNames(join(directory, 'none.pem'))).toEqual([]);
  });
});

describe('the API and Host', () => {
  let rig: ApiRig;
  afterEach(() => rig?.close());

  const status = async (host: string, path = '/audit-log/login', from?: string) =>
    (await rig.raw(path, { host }, from)).status;

  function said(text: string): Promise<string> {
    return new Promise((done, fail) => {
      let answer = '';
      const socket = connect(rig.port, '127.0.0.1', () => socket.end(text));
      socket.setEncoding('utf8').on('data', (piece: string) => {
        answer += piece;
      });
      socket.on('close', () => done(answer)).on('error', fail);
    });
  }

  it('the API answers for its own names, and names the keys to set for others', async () => {
    rig = await ApiRig.start();
    const own = ['localhost', `127.0.0.1:${rig.port}`, 'here', hostname(), 'HERE'];
    for (const host of own) expect(await status(host), host).toBe(200);
    for (const path of ['/audit-log/login', '/api/audit-log', '/healthz', '/nothing'])
      expect(await status('rebound.example', path), path).toBe(421);
    const { text, headers } = await rig.raw('/', { host: 'rebound.example:8181' });
    expect(headers.get('content-type')).toBe('application/problem+json');
    expect(JSON.parse(text)).toMatchObject({
      detail: expect.stringContaining('"rebound.example:8181"'),
      next: expect.stringMatching(/api\.hosts.*api\.trusted_proxies/),
    });
    expect(rig.daemon.output.match(/was refused/g)).toHaveLength(1);
    const { api } = (await rig.daemon.status()) as unknown as { api: { refused_host: { host: string } } };
    expect(api.refused_host.host).toBe('rebound.example:8181');
  });

  it('the API rejects two Host headers, none, and a request line for another host', async () => {
    rig = await ApiRig.start();
    const get = (line: string, ...hosts: string[]) =>
      said(`GET ${line}\r\n${hosts.map((host) => `Host: ${host}\r\n`).join('')}Connection: close\r\n\r\n`);
    expect(await get('/healthz HTTP/1.1', 'localhost')).toMatch(/^HTTP\/1\.1 200 /);
    const bad = [
      get('/healthz HTTP/1.1'),
      get('/healthz HTTP/1.0'),
      get('/healthz HTTP/1.1', ''),
      get('/healthz HTTP/1.1', 'localhost', 'localhost'),
      get('/healthz HTTP/1.1', 'localhost', 'rebound.example'),
      get('http://rebound.example/healthz HTTP/1.1', 'localhost'),
      get('http://localhost/healthz HTTP/1.1', 'rebound.example'),
    ];
    for (const answer of await Promise.all(bad)) expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(await get('http://localhost/healthz HTTP/1.1', 'localhost')).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get('http://rebound.example/healthz HTTP/1.1', 'rebound.example')).toMatch(
      /^HTTP\/1\.1 421 /,
    );
  });

  it('the API accepts any name from a trusted proxy until api.hosts is set, also by a reload', async () => {
    rig = await ApiRig.start('trusted_proxies: ["127.0.0.1"]');
    expect(await status('audit.example.net')).toBe(200);
    expect(await status('audit.example.net', '/audit-log/login', '127.0.0.2')).toBe(421);
    rig.daemon.setApi(
      `{ listen: "127.0.0.1:${rig.port}", trusted_proxies: ["127.0.0.1"], hosts: [audit.example.net] }`,
    );
    rig.daemon.child?.kill('SIGHUP');
    await expect.poll(() => status('other.example').catch(() => 0), { timeout: 60_000 }).toBe(421);
    expect(await status('audit.example.net')).toBe(200);
    expect(await status('localhost')).toBe(200);
  });
});
