import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequest } from '../../../src/control/client.js';
import { type Answer, ApiRig } from '../api-fixture.js';

const regex = spawnSync('fail2ban-regex', ['--version']).status === 0;
if (!regex && process.env.CI) throw new Error('fail2ban-regex is missing: apt-get install fail2ban');
if (!regex) console.warn('SKIPPED: fail2ban-regex is missing (apt-get install fail2ban)');

let rig: ApiRig;
let token: string;

beforeAll(async () => {
  rig = await ApiRig.start('trusted_proxies: ["127.0.0.1"]');
  token = await rig.token('reader');
});
afterAll(() => rig.close());

/** With a wrong token; `from` is a loopback address of the client, `behind` what X-Forwarded-For says. */
function guess(from: string, behind: string): Promise<Answer> {
  const headers = { authorization: 'Bearer pat_000000000000_wrong', 'x-forwarded-for': behind };
  return rig.raw('/api/audit-log', headers, from);
}

interface Failure {
  readonly source: { readonly ip: string };
  readonly event: { readonly action: string };
}

/** What stands in the pair that fail2ban reads. */
function counted(): string[] {
  return [0, 1].flatMap((n) => {
    const path = join(rig.daemon.place, 'auth', `fail2ban.${n}.log`);
    const lines = readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(1, -1);
    return lines.map((line) => (JSON.parse(line) as Failure).source.ip);
  });
}

async function countedOf(address: string, least: number): Promise<number> {
  for (let tries = 0; tries < 2_000; tries++) {
    const found = counted().filter((each) => each === address).length;
    if (found >= least) return found;
    await sleep(30);
  }
  return counted().filter((each) => each === address).length;
}

describe('the caller of a request', () => {
  it.each([
    '/api/audit-log',
    '/api/audit-log/1',
    '/api/audit-log/stats',
    '/api/audit-log/stream',
    '/api/bans',
    '/metrics',
  ])('%s needs a token', async (path) => {
    const { status, headers, text } = await rig.ask(path, null);
    expect([status, headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="postern-auditd"']);
    expect(text).toContain('token create');
  });

  it('a token of scope read can change nothing', async () => {
    expect((await rig.ask('/api/bans/192.0.2.1', token, { method: 'DELETE' })).status).toBe(403);
  });

  it('tokens are created only over the control socket, even by admins', async () => {
    const admin = await rig.token('admin', 'admin');
    expect((await rig.ask('/api/tokens', admin)).status).toBe(404);
    expect((await rig.ask('/api/tokens', admin, { method: 'POST', body: '{"name":"x"}' })).status).toBe(404);
    expect((await rig.ask('/status', admin)).status).toBe(404);
    expect((await rig.ask('/reload', admin, { method: 'POST' })).status).toBe(404);
  });

  it('requests over the control socket need no token', async () => {
    const page = await controlRequest(rig.daemon.control, 'GET', '/api/audit-log?limit=1');
    expect(page).toMatchObject({ limit: 1 });
  });

  it('an expired token is reported as such, and not counted as a failed login', async () => {
    const short = await rig.token('short', 'read', '1ms');
    await sleep(5);
    for (let n = 0; n < 7; n++) {
      const { status, text } = await rig.ask('/api/audit-log', short, {
        headers: { 'x-forwarded-for': '198.51.100.9' },
      });
      expect(status).toBe(401);
      expect(text).toContain('has expired');
    }
    expect(counted()).not.toContain('198.51.100.9');
  });

  it('a token is never in a log, nor in an event', async () => {
    await guess('127.0.0.1', '198.51.100.20');
    await rig.daemon.shipped();
    const all = rig.daemon.output + JSON.stringify(rig.daemon.auditLines());
    expect(all).not.toContain(token.slice(17));
    expect(all).not.toContain('pat_000000000000_wrong');
  });
});

describe('failed token attempts', () => {
  it('a wrong token is recorded five times, reported to fail2ban, and rejected from then on; a valid token still works', async () => {
    const answers: Answer[] = [];
    for (let n = 0; n < 12; n++) answers.push(await guess('127.0.0.1', '203.0.113.7'));
    expect(answers.map(({ status }) => status)).toEqual([
      401, 401, 401, 401, 401, 429, 429, 429, 429, 429, 429, 429,
    ]);
    expect(answers.at(-1)?.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await countedOf('203.0.113.7', 5)).toBe(5);
    const right = await rig.ask('/api/audit-log', token, { headers: { 'x-forwarded-for': '203.0.113.7' } });
    expect(right.status).toBe(200);
  });

  it.skipIf(!regex)(
    "failed attempts are counted by fail2ban's own engine with the shipped filter",
    async () => {
      for (let n = 0; n < 5; n++) await guess('127.0.0.1', '2001:db8::7');
      const network = '2001:db8::/64'; // what is banned of an IPv6 attacker
      await countedOf(network, 5);
      const matched = [0, 1].flatMap((n) => {
        const log = join(rig.daemon.place, 'auth', `fail2ban.${n}.log`);
        const filter = resolve(import.meta.dirname, '../../../fail2ban/filter.d/posternproxy.conf');
        const { stdout } = spawnSync('fail2ban-regex', ['-e', 'utf-8', '-o', 'ip', log, filter], {
          encoding: 'utf8',
        });
        return stdout.trim().split('\n');
      });
      expect(matched.filter((ip) => ip === network)).toHaveLength(5);
      expect(matched.filter((ip) => ip === '203.0.113.7')).toHaveLength(5);
    },
  );

  it('a client without a trusted proxy has only its own address', async () => {
    for (let n = 0; n < 5; n++) await guess('127.0.0.2', '203.0.113.99');
    await rig.daemon.shipped();
    await sleep(100);
    expect(counted()).not.toContain('203.0.113.99');
    const { entries } = (
      await rig.ask('/api/audit-log?action=auth.login_failure&ip=127.0.0.2', token)
    ).json();
    expect(entries).toHaveLength(5);
    expect(entries[0].details).toEqual({ service: 'postern-auditd', method: 'bearer' });
  });

  it('a failed attempt never has an address that a local program sent, unless that is configured as a proxy', async () => {
    const other = await ApiRig.start(); // as it comes
    try {
      const headers = { authorization: 'Bearer pat_000000000000_wrong', 'x-forwarded-for': '203.0.113.98' };
      for (let n = 0; n < 5; n++) expect((await other.raw('/api/audit-log', headers)).status).toBe(401);
      const { entries } = (
        await other.ask('/api/audit-log?action=auth.login_failure', await other.token('reader'))
      ).json();
      expect(entries.map((entry: { ip_address: string }) => entry.ip_address)).toEqual(
        Array.from({ length: 5 }, () => '127.0.0.1'),
      );
    } finally {
      await other.close();
    }
  });

  it('a bearer header without a token counts as a wrong token', async () => {
    for (const authorization of ['Bearer', 'Bearer  ', 'bearer', 'BEARER x y']) {
      const headers = { authorization, 'x-forwarded-for': '198.51.100.30' };
      expect((await rig.ask('/api/audit-log', null, { headers })).status).toBe(401);
    }
    expect(await countedOf('198.51.100.30', 4)).toBe(4);
  });

  it('a password that a proxy forwards is not a failed token attempt', async () => {
    const cookie = cookieOf(await post('/audit-log/login', { token }));
    for (const authorization of [
      'Basic YWRhOng=',
      'Digest username="ada"',
      'Negotiate YII',
      'x',
      'Bearerx y',
    ]) {
      const headers = { authorization, 'x-forwarded-for': '198.51.100.31' };
      const without = await rig.ask('/api/audit-log', null, { headers });
      expect([without.status, without.headers.get('www-authenticate')]).toEqual([
        401,
        'Bearer realm="postern-auditd"',
      ]);
      const session = await rig.ask('/audit-log', null, { headers: { ...headers, cookie } });
      expect(session.status).toBe(200);
      const form = await rig.ask('/audit-log', null, { headers });
      expect([form.status, form.headers.get('location')]).toEqual([
        303,
        '/audit-log/login?next=%2Faudit-log',
      ]);
    }
    await guess('127.0.0.1', '198.51.100.32');
    await countedOf('198.51.100.32', 1); // written after those would be
    expect(counted()).not.toContain('198.51.100.31');
  });
});

function cookieOf({ headers }: Answer): string {
  return headers
    .getSetCookie()
    .map((text) => text.split(';')[0])
    .join('; ');
}

function post(
  path: string,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return rig.ask(path, null, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers: { origin: rig.url(''), ...headers },
  });
}

describe('a browser', () => {
  it('a browser logs in with a token, and scripts can not read its cookie', async () => {
    const answer = await post('/audit-log/login', { token, next: '/audit-log?page=2' });
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/audit-log?page=2']);
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^postern_auditd=[\w-]{43}; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    expect(answer.headers.getSetCookie()[0]).not.toContain(token);
    expect((await rig.ask('/api/audit-log', null, { headers: { cookie: cookieOf(answer) } })).status).toBe(
      200,
    );
  });

  it('a cookie set over TLS is Secure, with the prefix __Host-, and without Strict-Transport-Security', async () => {
    const secure = { 'x-forwarded-proto': 'https', origin: rig.url('').replace('http:', 'https:') };
    const answer = await post('/audit-log/login', { token }, secure);
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^__Host-postern_auditd=[\w-]{43}; .*Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
    // It would be of the whole host, and shut the page of Postern on its port of http.
    expect(answer.headers.get('strict-transport-security')).toBeNull();
  });

  it.each([
    '//evil.example',
    '/',
    '/logout',
    '/audit-log/login',
    '/audit-log/../x',
    '/audit-logs',
    'https://evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
    '/\r\nx: y',
    '/audit-log?\u007f',
    '/audit-log?\u0085x',
    '/audit-log?ä',
    '/audit-log?日',
    '/audit-log?\\',
  ])('a login is not redirected elsewhere by next=%j', async (next) => {
    expect((await post('/audit-log/login', { token, next })).headers.get('location')).toBe('/audit-log');
  });

  it.each(['%7F', '%C2%85x', '%E6%97%A5', '%EF%BF%BE'])(
    'a browser that is logged in is redirected with next=/audit-log?%s',
    async (query) => {
      const cookie = cookieOf(await post('/audit-log/login', { token }));
      const answer = await rig.ask(`/audit-log/login?next=/audit-log?${query}`, null, {
        headers: { cookie },
      });
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/audit-log']);
    },
  );

  it('a browser with a wrong token returns to the form, and the attempt is recorded', async () => {
    const answer = await post('/audit-log/login', { token: 'wrong' }, { 'x-forwarded-for': '198.51.100.40' });
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/audit-log/login?failed=wrong']);
    expect(answer.headers.getSetCookie()).toEqual([]);
    expect(await countedOf('198.51.100.40', 1)).toBe(1);
  });

  it('a browser is not logged in by another site', async () => {
    for (const origin of ['http://evil.example', 'null'])
      expect((await post('/audit-log/login', { token }, { origin })).status).toBe(403);
    const without = await rig.ask('/audit-log/login', null, {
      method: 'POST',
      body: new URLSearchParams({ token }),
    });
    expect(without.status).toBe(403);
  });

  it('a browser has the begin and end of its session recorded once each, and no page views', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.41' };
    const cookie = cookieOf(await post('/audit-log/login', { token: await rig.token('ann') }, headers));
    for (let n = 0; n < 3; n++)
      expect(
        (await rig.ask('/api/audit-log?limit=1', null, { headers: { ...headers, cookie } })).status,
      ).toBe(200);
    const page = await rig.ask('/audit-log', null, { headers: { ...headers, cookie } });
    const csrf = /name="csrf" value="([\w-]+)"/.exec(page.text)?.[1] ?? '';
    await post('/audit-log/logout', { csrf }, { ...headers, cookie });
    await rig.daemon.shipped();
    const { entries } = (await rig.ask('/api/audit-log?source=auditd&ip=198.51.100.41', token)).json();
    const shown = entries.map((entry: { action: string; user: { name: string }; details: unknown }) => [
      entry.action,
      entry.user.name,
      entry.details,
    ]);
    const details = { service: 'postern-auditd', token_id: expect.stringMatching(/^\w+$/) };
    expect(shown).toEqual([
      ['auth.logout', 'ann', details],
      ['auth.login_success', 'ann', details],
    ]);
  });

  it('a browser changes nothing by its cookie alone: origin and form token are needed', async () => {
    const cookie = cookieOf(await post('/audit-log/login', { token: await rig.token('boss', 'admin') }));
    const unban = (headers: Record<string, string>) =>
      rig.ask('/api/bans/192.0.2.1', null, { method: 'DELETE', headers: { cookie, ...headers } });
    expect((await unban({})).status).toBe(403);
    expect((await unban({ origin: 'http://evil.example', 'x-csrf-token': 'x' })).status).toBe(403);
    expect((await unban({ origin: rig.url('') })).json().parameter).toBe('csrf');
    expect((await unban({ origin: rig.url(''), 'x-csrf-token': 'x'.repeat(43) })).status).toBe(403);
  });

  it('a browser is logged out on request, and when its token is revoked', async () => {
    const first = cookieOf(await post('/audit-log/login', { token }));
    const gone = await rig.token('gone');
    const second = cookieOf(await post('/audit-log/login', { token: gone }));
    const status = async (cookie: string) =>
      (await rig.ask('/api/audit-log', null, { headers: { cookie } })).status;
    expect([await status(first), await status(second)]).toEqual([200, 200]);
    await controlRequest(rig.daemon.control, 'DELETE', '/api/tokens/gone');
    expect([await status(first), await status(second)]).toEqual([200, 401]);
  });

  it('a browser gets exactly these security headers', async () => {
    const { headers } = await rig.ask('/healthz', null);
    const ofTransfer = ['connection', 'content-length', 'content-type', 'date', 'keep-alive'];
    const sent = Object.fromEntries([...headers].filter(([name]) => !ofTransfer.includes(name)));
    expect(sent).toEqual({
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'same-origin',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
      'cache-control': 'no-store',
    });
  });
});
