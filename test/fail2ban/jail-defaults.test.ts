import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { config } from '../../src/config/schema.js';
import {
  administratorDefaults,
  overriddenDefaults,
  unsparedNetworks,
} from '../../src/fail2ban/jail-defaults.js';
import { renderJail } from '../../src/fail2ban/render-jail.js';
import { formatFail2banLine } from '../../src/formats/fail2ban-line.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';
import { event } from './failures.js';

const there = hasFail2ban();
if (!there) console.warn("SKIPPED fail2ban's own [DEFAULT]: fail2ban is missing (apt-get install fail2ban)");

function directory(files: Record<string, string>): string {
  const etc = mkdtempSync(join(tmpdir(), 'pa-defaults-'));
  onTestFinished(() => rmSync(etc, { recursive: true }));
  mkdirSync(join(etc, 'jail.d'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(etc, name), text);
  return etc;
}

const settings = (never_ban: string[] = []) => config.parse({ fail2ban: { never_ban } }).fail2ban;
const jail = renderJail(settings(), { authDirectory: '/var/log/posternproxy/auth' });

describe("[DEFAULT] of the administrator's files", () => {
  it("is read in fail2ban's order, without what the distribution has there", () => {
    const etc = directory({
      'jail.conf': '[DEFAULT]\nbantime = 10m\nfindtime = 1m\n',
      'jail.d/defaults-debian.conf': '[DEFAULT]\nbanaction = nftables\n[sshd]\nbackend = systemd\n',
      'jail.d/ours.conf': '[DEFAULT]\nmaxretry = 9\nbantime : 2h ; a day?\n',
      'jail.local':
        '# ours\n[DEFAULT]\nbantime = 1d\nignoreip = 192.0.2.1\n\t2001:db8::5 198.51.100.0/24\n[sshd]\nmaxretry = 1\n',
      'jail.d/z.local': '[DEFAULT]\nMaxRetry = 3\n',
    });
    const found = [...administratorDefaults(etc)].map(([key, { value, file }]) => [
      key,
      `${value} in ${file.slice(etc.length + 1)}`,
    ]);
    expect(Object.fromEntries(found)).toEqual({
      bantime: '1d in jail.local',
      ignoreip: '192.0.2.1 2001:db8::5 198.51.100.0/24 in jail.local',
      maxretry: '3 in jail.d/z.local',
    });
  });

  it('reports values that the jail overrides, and not values that it inherits or sets alike', () => {
    const etc = directory({
      'jail.local': '[DEFAULT]\nbantime = 1d\nmaxretry = 5\nignoreip = 192.0.2.1\nbantime.increment = true\n',
    });
    expect(overriddenDefaults('posternproxy', jail, administratorDefaults(etc))).toBe(
      `the jail posternproxy overrides values of [DEFAULT]: bantime ("1d" in ${etc}/jail.local, "3600" in the jail)`,
    );
    expect(overriddenDefaults('posternproxy', jail, administratorDefaults(directory({})))).toBeNull();
  });

  it('warns of addresses in ignoreip whose network can still be banned', () => {
    const etc = directory({
      'jail.local':
        '[DEFAULT]\nignoreip = 127.0.0.1/8 ::1 192.0.2.1 2001:db8::5, 2001:db8:1::/48 2001:db8::6\n',
    });
    const found = unsparedNetworks(settings(['2001:db8::6']), administratorDefaults(etc));
    expect(found).toMatchObject({ level: 'warning' });
    expect(found?.what).toContain('names 2001:db8::5, but an IPv6 attacker is banned as a /64');
  });
});

it.skipIf(!there)('is read as fail2ban itself reads these files', () => {
  const files = {
    'jail.conf': '[DEFAULT]\nbantime = 10m\n',
    'jail.d/b.conf': '[DEFAULT]\nbantime = 2h ; ours\n',
    'jail.local': '[DEFAULT]\nignoreip = 192.0.2.1\n  198.51.100.0/24\n',
    'jail.d/a.local':
      '[DEFAULT]\nbantime : 77\n[probe]\nenabled = true\nfilter =\nbackend = polling\nlogpath = /dev/null\n',
  };
  const etc = directory({ ...files, 'fail2ban.conf': readFileSync('/etc/fail2ban/fail2ban.conf', 'utf8') });
  const dumped = execFileSync('fail2ban-client', ['-c', etc, '-d'], { encoding: 'utf8' });
  const found = administratorDefaults(etc);
  expect(dumped).toContain(`['set', 'probe', 'bantime', '${found.get('bantime')?.value}']`);
  for (const address of found.get('ignoreip')?.value.split(' ') ?? []) {
    expect(dumped).toMatch(new RegExp(`'addignoreip'.*'${address}'`));
  }
});

describe.skipIf(!there)("an address in ignoreip of the administrator's [DEFAULT]", () => {
  it('is not banned: the jail inherits ignoreip', () => {
    const server = new PrivateFail2ban();
    onTestFinished(() => server.close());
    // The jail as install.sh writes it, but with an action that does nothing.
    const text = renderJail(config.parse({}).fail2ban, { authDirectory: server.authDirectory });
    const harmless = text.replace(/^action = [\s\S]*/m, 'action = nothing\n');
    const etc = join(server.directory, 'etc');
    rmSync(join(etc, 'jail.conf'));
    writeFileSync(join(etc, 'jail.local'), '[DEFAULT]\nignoreip = 192.0.2.66\nbantime = 1d\n');
    mkdirSync(join(etc, 'jail.d'));
    writeFileSync(join(etc, 'jail.d/posternproxy.conf'), `${harmless}`);
    server.client('reload');
    const now = Date.now();
    const lines = (address: string) =>
      Array.from(
        { length: 6 },
        (_, sequence) => `${formatFail2banLine(event({ sequence }), now, address)}\n`,
      ).join('');
    writeFileSync(join(server.authDirectory, 'fail2ban.0.log'), lines('192.0.2.66') + lines('192.0.2.67'), {
      flag: 'a',
    });
    let banned = '';
    for (let tries = 0; tries < 100 && !banned.includes('192.0.2.67'); tries++) {
      execFileSync('sleep', ['0.2']);
      banned = server.client('get', 'posternproxy', 'banip');
    }
    expect(banned.trim()).toBe('192.0.2.67');
    expect(server.client('get', 'posternproxy', 'bantime').trim()).toBe('3600');
  });
});
