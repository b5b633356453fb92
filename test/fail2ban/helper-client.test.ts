import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJail } from '../../src/fail2ban/helper-client.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';

const SCRIPT = resolve(import.meta.dirname, '../../fail2ban/postern-auditd-fail2ban');
const there = hasFail2ban();
if (!there) console.warn('SKIPPED: fail2ban is not installed (apt-get install fail2ban): the helper');
if (!there && process.env.CI !== undefined) throw new Error('fail2ban is not installed');

describe.skipIf(!there)('the helper, with a real fail2ban', () => {
  let fail2ban: PrivateFail2ban;
  let socket: string;
  let server: Server;
  let silence: Promise<string>;
  const banned = () => fail2ban.client('get', 'posternproxy', 'banip').split(/\s+/).filter(Boolean).sort();
  const uid = process.getuid?.() ?? 0;
  const env = () => ({ PATH: fail2ban.path, JAIL: 'posternproxy', SOCKET: socket });
  const ask = (input: string, peer = `0-1-${uid}`): string =>
    spawnSync(SCRIPT, [peer], { input, env: env(), encoding: 'utf8' }).stdout;

  beforeAll(async () => {
    fail2ban = new PrivateFail2ban();
    socket = join(fail2ban.directory, 'helper.sock');
    // What systemd does for a socket with Accept=yes.
    server = createServer({ allowHalfOpen: true }, (connection) => {
      const child = spawn(SCRIPT, [`0-1-${uid}`], { env: env(), stdio: ['pipe', 'pipe', 'ignore'] });
      connection.pipe(child.stdin);
      child.stdout.pipe(connection);
    });
    await new Promise<void>((done) => server.listen(socket, done));
    // Asks nothing, and takes its time while the other tests run.
    const silent = spawn(SCRIPT, [`0-1-${uid}`], { env: env(), stdio: ['pipe', 'pipe', 'ignore'] });
    silence = new Promise((done) => silent.stdout.once('data', (data) => done(String(data))));
    silent.once('exit', () => silent.stdin.destroy());
  });
  afterAll(() => {
    server.close();
    fail2ban.close();
  });

  it('lists bans with their times and lifts one by its address, or by an address in its network', async () => {
    const jail = createJail('posternproxy', socket);
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.7', '2001:db8:1:2::/64');
    const { status, bans } = await jail.report();
    expect(new Set(status.banned)).toEqual(new Set(['2001:db8:1:2::/64', '203.0.113.7']));
    expect(bans.map(({ address }) => address)).toHaveLength(2);
    for (const { since, until } of bans)
      expect([since, until].join()).toMatch(/^\d{4}-\d\d-\S*Z,\d{4}-\d\d-\S*Z$/);
    expect(await jail.unban('203.0.113.7')).toEqual(['203.0.113.7']);
    const about: string[] = [];
    expect(await jail.unban('2001:db8:1:2::99', (ban) => about.push(ban))).toEqual(['2001:db8:1:2::/64']);
    // Whose wish it was is kept under the name that fail2ban will report.
    expect(about).toEqual(['2001:db8:1:2::/64']);
    expect(await jail.unban('198.51.100.1')).toEqual([]);
    await expect(jail.unban('example.org; reboot')).rejects.toThrow('is not an address');
    expect(banned()).toEqual([]);
  });

  it('reports why fail2ban failed, and what to do', async () => {
    await expect(createJail('posternproxy', `${socket}-none`).report()).rejects.toThrow(); // without the helper: directly
    const other = spawnSync(SCRIPT, [`0-1-${uid}`], {
      input: 'status',
      env: { ...env(), JAIL: 'elsewhere' },
      encoding: 'utf8',
    });
    expect(other.stdout).toMatch(/^error fail2ban: .*elsewhere.* does not exist/);
  });

  const HOSTILE: ReadonlyArray<readonly [string, string]> = [
    ['', 'only "status" and "unban ADDRESS" are done here'],
    ['ban 203.0.113.9', 'only "status" and "unban ADDRESS" are done here'],
    ['status posternproxy', 'only "status" and "unban ADDRESS" are done here'],
    ['status\nunban 203.0.113.9', 'only "status" and "unban ADDRESS" are done here'],
    ['unban --all', 'not an address'],
    ['unban *', 'not an address'],
    ['unban 203.0.113.?', 'not an address'],
    ['unban 203.0.113.9 203.0.113.10', 'not an address'],
    ['unban 203.0.113.9\n203.0.113.10', 'not an address'],
    ['unban 203.0.113.9;id', 'not an address'],
    ['unban $(touch pwned)', 'not an address'],
    ['unban `touch pwned`', 'not an address'],
    ['unban ../../pwned', 'not an address'],
    ['unban 203.0.113.0/24', 'not banned'],
    ['unban 203.0.113.', 'not banned'],
    ['unban 9', 'not banned'],
    [`unban ${'9'.repeat(10_000)}`, 'not banned'],
  ];

  it('does only its two tasks, whatever the request', () => {
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.9', '203.0.113.10');
    for (const [request, answer] of HOSTILE)
      expect(ask(request), request.slice(0, 40)).toBe(`error ${answer}\n`);
    expect(banned()).toEqual(['203.0.113.10', '203.0.113.9']);
    expect(existsSync('pwned')).toBe(false);
    expect(ask('unban 203.0.113.9')).toBe('ok\n');
    expect(banned()).toEqual(['203.0.113.10']);
  });

  it('passes only texts that look like an address to fail2ban', () => {
    const log = join(fail2ban.directory, 'bin/args');
    const fake = join(fail2ban.directory, 'fake');
    spawnSync('sh', [
      '-c',
      `mkdir -p ${fake}; printf '#!/bin/sh\\nprintf "%%s\\\\n" "$*" >>${log}\\n' >${fake}/fail2ban-client`,
    ]);
    chmodSync(join(fake, 'fail2ban-client'), 0o755);
    const requests = fc.sample(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 60 }),
        fc.string({ maxLength: 40 }).map((text) => `unban ${text}`),
      ),
      40,
    );
    for (const input of requests)
      spawnSync(SCRIPT, [`0-1-${uid}`], { input, env: { ...env(), PATH: `${fake}:${process.env.PATH}` } });
    const seen = spawnSync('sort', ['-u', log], { encoding: 'utf8' }).stdout;
    expect(seen.split('\n').filter((line) => line !== '' && line !== 'get posternproxy banip')).toEqual([]);
    rmSync(log, { force: true });
  });

  it('does nothing for another user', () => {
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.9');
    for (const peer of ['0-1-65534', '0-1-unknown', '', '0-1-', '0-0-1 0']) {
      expect(ask('unban 203.0.113.9', peer), peer).toBe('error not for you\n');
      expect(ask('status', peer), peer).toBe('error not for you\n');
    }
    expect(banned()).toContain('203.0.113.9');
  });

  it('times out while it waits for a request', async () => {
    expect(await silence).toBe('error no request within 5 s\n');
  });
});
