import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { installed } from '../support/installed.js';
import { ApiRig, apiOf, freePort } from './api-fixture.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-listen-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function problems(text: string): string {
  try {
    parseConfig(`api:\n  ${text}\n`, 'c.yml');
    return '';
  } catch (error) {
    return String(error);
  }
}

describe('api.listen', () => {
  it.each(['"0.0.0.0:8181"', '"[::]:8181"', '"192.0.2.7:8181"'])(
    'api.listen beyond loopback (%s) needs TLS or allow_remote; the error has the key and its position',
    (listen) => {
      expect(problems(`listen: ${listen}`)).toMatch(
        /c\.yml:2:11: api\.listen: found ".*", which other hosts can reach; allowed is a loopback address .*api\.tls.*api\.allow_remote: true/,
      );
      expect(problems(`listen: ${listen}\n  allow_remote: true`)).toBe('');
      expect(problems(`listen: ${listen}\n  tls: { cert: /a, key: /b }`)).toBe('');
      expect(problems(`listen: ${listen}\n  enabled: false`)).toBe('');
    },
  );

  it.each(['"127.0.0.1:8181"', '"127.0.0.2:1"', '"[::1]:8181"', '"localhost:8181"'])(
    'api.listen accepts loopback: %s',
    (listen) => {
      expect(problems(`listen: ${listen}`)).toBe('');
    },
  );

  it.each(['8181', '":8181"', '"example.net:8181"', '"127.0.0.1"', '"127.0.0.1:0"', '/run/api.sock'])(
    'api.listen rejects %s, which is not an address with a port',
    (listen) => {
      expect(problems(`listen: ${listen}`)).toMatch(/c\.yml:2:11: api\.listen: /);
    },
  );

  it('api.listen rejects a trusted proxy that is not an address, with its position', () => {
    expect(problems('trusted_proxies: ["127.0.0.1", proxy.example]')).toMatch(
      /c\.yml:2:34: api\.trusted_proxies\.1: found "proxy\.example"/,
    );
  });
});

describe('the API with TLS', () => {
  it.skipIf(!installed('curl', 'curl') || !installed('openssl', 'openssl'))(
    'the API with TLS listens beyond loopback, reads a renewed certificate at a reload, and keeps sessions and failure counts',
    async () => {
      const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
      const make = (name: string) =>
        execFileSync(
          'openssl',
          [
            'req',
            '-x509',
            '-newkey',
            'ec',
            '-pkeyopt',
            'ec_paramgen_curve:P-256',
            '-nodes',
            '-days',
            '1',
            '-subj',
            `/CN=${name}`,
            '-keyout',
            key,
            '-out',
            cert,
          ],
          { stdio: 'ignore' },
        );
      make('first');
      const address =
        Object.values(networkInterfaces())
          .flat()
          .find((each) => each?.family === 'IPv4' && !each.internal)?.address ?? '127.0.0.1';
      const port = await freePort();
      const rig = await ApiRig.start(
        `tls: { cert: ${cert}, key: ${key} }, trusted_proxies: []`,
        '',
        `${address}:${port}`,
      );
      try {
        const token = await rig.token('reader');
        const curl = (path: string, ...more: string[]) =>
          spawnSync('curl', ['-ksSi', '-v', ...more, `https://${address}:${port}${path}`], {
            encoding: 'utf8',
          });
        const first = curl('/api/audit-log?limit=1', '-H', `Authorization: Bearer ${token}`);
        expect(first.stdout).toMatch(/^HTTP\/1.1 200 /);
        expect(first.stdout).not.toMatch(/strict-transport-security/i);
        expect(first.stderr).toContain('CN=first');
        const origin = ['-H', `Origin: https://${address}:${port}`];
        const login = curl('/audit-log/login', ...origin, '--data-urlencode', `token=${token}`);
        const cookie = /set-cookie: (__Host-postern_auditd=[\w-]+);/i.exec(login.stdout)?.[1] ?? 'none';
        const guesses = () => curl('/api/audit-log', '-H', 'Authorization: Bearer wrong').stdout;
        for (let n = 0; n < 5; n++) expect(guesses()).toMatch(/^HTTP\/1.1 401 /);
        expect(guesses()).toMatch(/^HTTP\/1.1 429 /);
        make('second');
        rig.daemon.child?.kill('SIGHUP');
        let said = '';
        for (let tries = 0; !said.includes('CN=second') && tries < 100; tries++) {
          execFileSync('sleep', ['0.05']);
          said = curl('/healthz').stderr;
        }
        expect(said).toContain('CN=second');
        expect(guesses()).toMatch(/^HTTP\/1.1 429 /);
        expect(curl('/api/audit-log?limit=1', '-H', `Cookie: ${cookie}`).stdout).toMatch(/^HTTP\/1.1 200 /);
        expect(spawnSync('curl', ['-sS', `http://${address}:${port}/healthz`]).status).not.toBe(0);
      } finally {
        await rig.close();
      }
    },
  );

  it('the API with TLS reports a missing certificate, and deliveries continue', async () => {
    const port = await freePort();
    const missing = join(directory, 'missing.pem');
    const rig = await ApiRig.start().then(async (started) => {
      started.daemon.setApi(`{ listen: "127.0.0.1:${port}", tls: { cert: ${missing}, key: ${missing} } }`);
      started.daemon.child?.kill('SIGHUP');
      return started;
    });
    try {
      const status = await rig.daemon.until((at) => apiOf(at).state === 'retrying', 'it says so');
      expect(apiOf(status).error).toContain(missing);
      writeFileSync(missing, '');
      rig.daemon.append(5);
      await rig.daemon.shipped();
    } finally {
      await rig.close();
    }
  });
});
