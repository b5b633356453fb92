import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/config/load.js';
import { ApiRig, apiOf } from '../api-fixture.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-unix-'));
const path = join(directory, 'api', 'api.sock');
const LISTEN = `unix:${path}`;

interface Reply {
  readonly status: number;
  readonly text: string;
}

/** A request as the proxy in front sends it. */
function ask(to: string, headers: Record<string, string> = {}, at = path): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: at, path: to, headers: { host: 'audit.example.net', ...headers } });
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject).end();
  });
}

describe('api.listen: unix:', () => {
  let rig: ApiRig;
  afterEach(async () => {
    await rig?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const listening = () => rig.daemon.until((at) => apiOf(at).state === 'listening', 'the API listens');
  const failing = async () => {
    const at = await rig.daemon.until((status) => apiOf(status).state === 'retrying', 'it says so');
    return apiOf(at).error ?? '';
  };

  const failures = async (token: string) => {
    const { text } = await ask('/api/audit-log?action=auth.login_failure', {
      authorization: `Bearer ${token}`,
    });
    return (JSON.parse(text) as { entries: Array<{ ip_address: string | null }> }).entries.map(
      ({ ip_address: address }) => address,
    );
  };

  it('the unix listener trusts its proxy, whatever the client wrote, and bans nobody if it sends no address', async () => {
    rig = await ApiRig.start('', '', LISTEN);
    const token = await rig.token('reader');
    const guess = (forwarded?: string) =>
      ask('/api/audit-log', {
        authorization: 'Bearer wrong',
        ...(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
      });
    for (const forwarded of ['198.51.100.1, 203.0.113.7', '2001:db8::7', undefined, 'unknown'])
      expect((await guess(forwarded)).status).toBe(401);
    expect(await failures(token)).toEqual([null, null, '2001:db8::7', '203.0.113.7']);
    expect(rig.daemon.output.match(/sends no X-Forwarded-For/g)).toHaveLength(1);
    for (let n = 0; n < 5; n++) await guess('203.0.113.9');
    expect((await guess('203.0.113.9')).status).toBe(429);
    expect((await guess('203.0.113.10')).status).toBe(401);
  });

  it('the unix listener has the configured mode, and replaces the socket of a crashed daemon', async () => {
    rig = await ApiRig.start('socket_mode: "0600"', '', LISTEN);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await rig.daemon.kill('SIGKILL');
    expect(existsSync(path)).toBe(true);
    await rig.daemon.start();
    await listening();
    expect((await ask('/healthz')).status).toBe(200);
    await rig.daemon.kill('SIGTERM');
    expect(existsSync(path)).toBe(false);
  });

  it('the unix listener keeps the socket of another program and a file, and retries', async () => {
    rig = await ApiRig.start();
    const taken = join(directory, 'taken.sock');
    execFileSync('mkdir', ['-p', directory]);
    const other = createServer();
    await new Promise<void>((done) => other.listen(taken, done));
    const set = (listen: string, more = '') => {
      rig.daemon.setApi(`{ listen: "${listen}"${more} }`);
      rig.daemon.child?.kill('SIGHUP');
    };
    set(`unix:${taken}`);
    expect(await failing()).toMatch(/taken\.sock: another program uses the path\. .*ss -lxp/);
    await new Promise((done) => other.close(done));
    await listening();
    expect((await ask('/healthz', {}, taken)).status).toBe(200);
    const file = join(directory, 'file');
    writeFileSync(file, 'kept');
    set(`unix:${file}`);
    expect(await failing()).toMatch(/the path exists and is not a socket/);
    expect(statSync(file).size).toBe(4);
    set(LISTEN, ', socket_group: no-such-group');
    await expect.poll(failing, { timeout: 60_000 }).toMatch(/the group no-such-group does not exist/);
  });

  it('the unix listener replaces a port at a reload, and vice versa', async () => {
    rig = await ApiRig.start();
    const old = `127.0.0.1:${rig.port}`;
    const set = async (listen: string) => {
      rig.daemon.setApi(`{ listen: "${listen}" }`);
      rig.daemon.child?.kill('SIGHUP');
      await rig.daemon.until(
        (at) => apiOf(at).listen === listen && apiOf(at).state === 'listening',
        'it listens there',
      );
    };
    await set(LISTEN);
    expect((await ask('/healthz')).status).toBe(200);
    await expect(rig.raw('/healthz', {})).rejects.toThrow(/ECONNREFUSED/);
    await set(old);
    expect((await rig.raw('/healthz', {})).status).toBe(200);
    expect(existsSync(path)).toBe(false);
  });

  it.skipIf(process.getuid?.() !== 0)('the unix listener admits only its group', async () => {
    rig = await ApiRig.start('socket_mode: "0660", socket_group: www-data', '', LISTEN);
    execFileSync('chmod', ['711', directory]);
    const as = (user: string) =>
      new Promise<string>((done) => {
        const script = `const s = require('net').connect(${JSON.stringify(path)}); s.on('connect', () => { console.log('in'); s.destroy(); }); s.on('error', (e) => console.log(e.code));`;
        const child = spawn('setpriv', [
          `--reuid=${user}`,
          `--regid=${user}`,
          '--clear-groups',
          process.execPath,
          '-e',
          script,
        ]);
        let text = '';
        child.stdout.on('data', (piece) => {
          text += String(piece);
        });
        child.once('close', () => done(text.trim()));
      });
    expect(await as('www-data')).toBe('in');
    expect(await as('daemon')).toBe('EACCES');
  });
});

describe('the configuration', () => {
  const refused = (yaml: string) => {
    try {
      parseConfig(yaml, 'c.yml');
      return '';
    } catch (error) {
      return String(error);
    }
  };

  it.each([
    [
      'api: { listen: "unix:/run/postern-auditd/control.sock" }',
      /api\.listen: found the path of the control socket/,
    ],
    [`api: { listen: "unix:/${'x'.repeat(120)}" }`, /api\.listen: found a path of 121 bytes/],
    ['api: { listen: "unix:api.sock" }', /api\.listen: found .* allowed is an address and a port .* "unix:"/],
    ['api: { listen: "unix:/run/" }', /api\.listen: /],
    ['api: { listen: "unix:/run/a.sock", tls: { cert: /a, key: /b } }', /api\.tls: found a certificate/],
    ['api: { socket_mode: "0666" }', /api\.socket_mode: .*not every user can write/],
  ])('%s is rejected with its position', (yaml, message) => {
    expect(refused(yaml)).toMatch(message);
  });

  it('a unix socket needs neither TLS nor allow_remote', () => {
    expect(refused('api: { listen: "unix:/run/postern-auditd/api.sock" }')).toBe('');
  });
});
