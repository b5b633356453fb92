import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { config } from '../../src/config/schema.js';
import { refusedNetworks } from '../../src/fail2ban/ban-actions.js';
import type { Run } from '../../src/fail2ban/client.js';
import { renderJail } from '../../src/fail2ban/render-jail.js';
import { hasFail2ban } from '../commands/private-fail2ban.js';

const there = hasFail2ban();
if (!there) console.warn('SKIPPED: fail2ban is not installed: what its configuration says of actions');

const SHIPPED = resolve(import.meta.dirname, '../../fail2ban');
const SET = (type: string) =>
  `[Definition]\nactionstart = ipset create mine ${type} family inet6\nactionban = ipset add mine <ip>\nactionunban = ipset del mine <ip>\n`;

describe.skipIf(!there)(
  "an action that cannot ban networks, in the administrator's files of fail2ban",
  () => {
    let etc: string;

    beforeEach(() => {
      etc = mkdtempSync(join(tmpdir(), 'pa-actions-'));
      onTestFinished(() => rmSync(etc, { recursive: true }));
      cpSync('/etc/fail2ban', etc, { recursive: true });
      for (const part of ['filter.d', 'action.d'])
        cpSync(join(SHIPPED, part), join(etc, part), { recursive: true });
    });

    /** Read by the real fail2ban. @returns the names that are found, or null where there is nothing to say */
    async function found(
      files: Record<string, string>,
      rules: Record<string, unknown> = {},
    ): Promise<string | null> {
      const { fail2ban } = config.parse({ fail2ban: rules });
      const run: Run = async (program, args) => {
        const stdout = execFileSync(program, ['-c', etc, ...args], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        return { exitCode: 0, stdout, stderr: '' };
      };
      writeFileSync(
        join(etc, 'jail.d/posternproxy.conf'),
        renderJail(fail2ban, { authDirectory: '/var/log/posternproxy/auth' }),
      );
      // Its files need not be there to be named.
      writeFileSync(join(etc, 'jail.d/a-place.local'), '[posternproxy]\nlogpath = /dev/null\n');
      for (const [name, text] of Object.entries(files)) writeFileSync(join(etc, name), text);
      const [finding] = await refusedNetworks(fail2ban, run);
      if (finding === undefined) return null;
      expect(finding.level).toBe('error');
      expect(finding.next).toContain('fail2ban.banaction');
      return /uses (.*), which cannot ban networks/.exec(finding.what)?.[1] ?? finding.what;
    }

    const local = (text: string) => ({ 'jail.d/posternproxy.local': `[posternproxy]\n${text}\n` });

    it.each([
      ['iptables-ipset-proto6', /^iptables-ipset-proto6\S*, iptables-ipset-proto6\S*$/],
      ['nftables-multiport', /^nftables-multiport/],
      ['hostsdeny', /^hostsdeny/],
    ])('is found as its banaction %s', async (action, names) => {
      expect(await found(local(`banaction = ${action}`))).toMatch(names);
    });

    it('finds an action with its own name by what it does, beside others', async () => {
      const files = { ...local('action = iptables-multiport\n  mine'), 'action.d/mine.conf': SET('hash:ip') };
      expect(await found(files)).toBe('mine');
      expect(await found({ ...files, 'action.d/mine.conf': SET('hash:net') })).toBeNull();
    });

    it('finds no action where the daemon writes addresses, or only [DEFAULT] names it', async () => {
      const own = local('banaction = iptables-ipset-proto6');
      expect(await found(own, { ipv6_prefix: 128 })).toBeNull();
      expect(await found(own, { banaction: 'iptables-ipset-proto6' })).toBeNull();
      rmSync(join(etc, 'jail.d/posternproxy.local'));
      expect(await found({ 'jail.local': '[DEFAULT]\nbanaction = iptables-ipset-proto6\n' })).toBeNull();
    });

    it.each(['iptables-multiport', 'nftables', 'ufw'])(
      'is none of those that the jail has of the configuration: %s',
      async (banaction) => {
        expect(await found({}, { banaction })).toBeNull();
      },
    );
  },
);
