import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ran, run } from './cli.js';
import { hasFail2ban, PrivateFail2ban } from './private-fail2ban.js';

const there = hasFail2ban();
if (!there) console.warn('SKIPPED: fail2ban is not installed (apt-get install fail2ban): bans and unban');
if (!there && process.env.CI !== undefined) throw new Error('fail2ban is not installed');

const config = join(mkdtempSync(join(tmpdir(), 'postern-auditd-bans-')), 'config.yml');
writeFileSync(config, '');
afterAll(() => rmSync(join(config, '..'), { recursive: true }));

describe.skipIf(!there)('bans and unban, with a real fail2ban', () => {
  let fail2ban: PrivateFail2ban;
  const ask = (...args: string[]): Ran => run([...args, '--config', config], { PATH: fail2ban.path });

  beforeAll(() => {
    fail2ban = new PrivateFail2ban();
  });
  afterAll(() => fail2ban.close());

  it('bans prints that nobody is banned', () => {
    expect(ask('bans')).toEqual({
      code: 0,
      out: "Nobody is banned in jail posternproxy.\n0 addresses with failures that have not led to a ban; since fail2ban's start 0 failures, 0 bans.\n",
      err: '',
    });
  });

  it('bans prints each ban with its start and end, and unban lifts it', () => {
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.7', '2001:db8:1:2::/64');
    const listed = ask('bans');
    expect(listed.code).toBe(0);
    const time = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ';
    expect(listed.out).toMatch(/^2 addresses are banned in jail posternproxy\.\n/);
    expect(listed.out).toMatch(new RegExp(`^ {2}203\\.0\\.113\\.7 +since ${time} {2}until ${time}$`, 'm'));
    expect(listed.out).toMatch(new RegExp(`^ {2}2001:db8:1:2::/64 +since ${time} {2}until ${time}$`, 'm'));

    const json = JSON.parse(ask('bans', '--json').out) as {
      jail: string;
      banned: Array<{ address: string; since: string; until: string }>;
    };
    // Whatever the zone of who asks: these are moments.
    for (const zone of ['Asia/Kolkata', 'America/New_York']) {
      const args = ['bans', '--json', '--config', config];
      const { banned } = JSON.parse(run(args, { PATH: fail2ban.path, TZ: zone }).out) as typeof json;
      for (const { since, until } of banned) {
        expect(Math.abs(Date.now() - Date.parse(since))).toBeLessThan(600_000);
        expect(Date.parse(until) - Date.parse(since)).toBe(3_600_000);
      }
    }
    expect(json.jail).toBe('posternproxy');
    expect(new Set(json.banned.map(({ address }) => address))).toEqual(
      new Set(['2001:db8:1:2::/64', '203.0.113.7']),
    );

    expect(ask('unban', '203.0.113.7', '2001:db8:1:2::99')).toEqual({
      code: 0,
      out: '203.0.113.7 is no longer banned in jail posternproxy\n2001:db8:1:2::/64, the network of 2001:db8:1:2::99, is no longer banned in jail posternproxy\n',
      err: '',
    });
    expect(fail2ban.client('get', 'posternproxy', 'banip').trim()).toBe('');
  });

  it('an invalid configuration does not prevent an unban, and a warning names the jail in use', () => {
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.9');
    writeFileSync(config, 'fail2ban:\n  jail: posternproxy\n  max_retries: 3\n');
    const { code, out, err } = ask('unban', '203.0.113.9');
    const listed = ask('bans');
    writeFileSync(config, '');
    expect({ code, out }).toEqual({
      code: 0,
      out: '203.0.113.9 is no longer banned in jail posternproxy\n',
    });
    expect(err).toMatch(/^ {2}\S*config\.yml:3:3: fail2ban\.max_retries: found an unknown key/m);
    expect(err).toContain('The command continues with the jail posternproxy.');
    expect(listed.code).toBe(0);
  });

  it('unban of an address without a ban exits with 1 and names it', () => {
    expect(ask('unban', '198.51.100.1')).toEqual({
      code: 1,
      out: '',
      err: 'postern-auditd: 198.51.100.1 is not banned in jail posternproxy. See: postern-auditd bans\n',
    });
  });

  it('unban rejects a name instead of an address with exit code 2', () => {
    const { code, err } = ask('unban', 'example.org; reboot');
    expect(code).toBe(2);
    expect(err).toBe(
      'postern-auditd: "example.org; reboot" is not an address. Give one as `postern-auditd bans` lists it\n',
    );
  });

  it('a missing jail is named in the error', () => {
    writeFileSync(config, 'fail2ban: { jail: elsewhere }');
    const { code, err } = ask('bans');
    writeFileSync(config, '');
    expect(code).toBe(1);
    expect(err).toMatch(/^postern-auditd: fail2ban has no jail elsewhere\. /);
  });
});
