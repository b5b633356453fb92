import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseBan } from '../../src/fail2ban/ban-log.js';
import { type Run, testFilter } from '../../src/fail2ban/client.js';
import { canonical, hostile } from '../fail2ban/hostile.js';
import { samples } from '../fail2ban/samples.js';
import {
  banned,
  bansLog,
  configureJail,
  counted,
  fail,
  startEcho,
  startFail2ban,
  waitForBan,
  waitForCount,
  waitForJail,
} from './fail2ban.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';

const five = (address: string) => Array.from({ length: 5 }, () => address);

async function report(host: Host): Promise<string[]> {
  const { stdout } = await host.exec(`cat ${bansLog} 2>/dev/null || :`);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const entry = parseBan(line);
      return entry === null ? `unreadable: ${line}` : `${entry.event} ${entry.address}`;
    });
}

for (const suite of ['bookworm', 'trixie'] satisfies Suite[]) {
  describeHost(`fail2ban of ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({ suite, name: `bans-${suite}` });
      await startEcho(host, [80, 81, 443, 8080]);
      await host.write('/etc/fail2ban/jail.local', '[DEFAULT]\nignoreip = 127.0.0.0/8 ::1 10.77.9.0/24\n');
      await startFail2ban(host);
    });
    afterAll(() => host.stop());

    it.each([
      ['IPv4', '10.77.0.9', '10.77.0.10'],
      ['IPv6', 'fd77::9', 'fd77::a'],
    ])(
      'the jail bans an attacker from the ports of Postern, and no other client, and unbans it: %s',
      async (_, attacker, other) => {
        expect(await host.attack({ from: attacker, port: 81 })).toBe('open');
        const before = await counted(host);
        await fail(host, [...five(attacker).slice(1), other]);
        await waitForCount(host, before + 5);
        expect(await banned(host)).toEqual([]);
        await fail(host, [attacker], 'fail2ban.1.log');
        await waitForBan(host, attacker);
        await host.waitFor(`cat ${bansLog}`, (out) => out.includes(`"ip":"${attacker}"`));
        for (const port of [80, 81, 443]) {
          expect(await host.attack({ from: attacker, port }), `TCP port ${port}`).toBe('refused');
        }
        expect(await host.attack({ from: attacker, port: 443, udp: true })).toBe('refused');
        expect(await host.attack({ from: attacker, port: 8080 })).toBe('open');
        expect(await host.attack({ from: other, port: 81 })).toBe('open');
        expect(await host.attack({ from: other, port: 443, udp: true })).toBe('open');

        await host.exec(`fail2ban-client set posternproxy unbanip ${attacker}`);
        expect(await host.attack({ from: attacker, port: 81 })).toBe('open');
        expect(await host.attack({ from: attacker, port: 443, udp: true })).toBe('open');
        expect((await report(host)).filter((line) => line.includes(attacker))).toEqual([
          `ban ${attacker}`,
          `unban ${attacker}`,
        ]);
        // A leftover failure must not add to those of the next test.
        await host.exec(`fail2ban-client set posternproxy unbanip ${other}`);
      },
    );

    it('the jail does not ban addresses in ignoreip', async () => {
      await fail(host, [...five('10.77.9.5'), ...five('10.77.0.20')]);
      await waitForBan(host, '10.77.0.20');
      expect(await banned(host)).toEqual(['10.77.0.20']);
    });

    it('fail2ban restores bans after a restart, and does not report them again', async () => {
      await configureJail(host);
      const attackers = Array.from({ length: 20 }, (_, i) => (i % 2 ? `10.77.1.${i}` : `fd77::1:${i}`));
      await fail(host, attackers.flatMap(five));
      await host.waitFor(
        `grep -c '"event":"ban","ip":"\\(10.77.1\\|fd77::1\\):*' ${bansLog}`,
        (out) => out.trim() === '20',
      );
      const before = await report(host);
      await host.exec('systemctl restart fail2ban');
      await waitForJail(host, /Currently banned:\s+20/);
      await host.waitFor('iptables -S', (out) => out.includes('10.77.1.19/32'));
      expect(await host.attack({ from: '10.77.1.19', port: 81 })).toBe('refused');
      for (const reload of ['reload', 'reload posternproxy', 'reload --restart posternproxy']) {
        await host.exec(`fail2ban-client ${reload}`);
        await waitForJail(host, /Currently banned:\s+20/);
      }
      expect(await report(host)).toEqual(before);
      await host.exec('fail2ban-client set posternproxy unbanip 10.77.1.19');
      expect((await report(host)).slice(before.length)).toEqual(['unban 10.77.1.19']);
    });

    it('fail2ban writes a report that everyone can read and only root can write', async () => {
      const { stdout } = await host.exec(`stat -c '%U %a' ${bansLog} ${bansLog.replace(/\/[^/]*$/, '')}`);
      expect(stdout).toBe('root 644\nroot 755\n');
    });

    it.each(['iptables-multiport', 'nftables', 'nftables-multiport'])(
      'the jail bans the network of an IPv6 attacker with %s',
      async (banaction) => {
        await configureJail(host, { banaction, ipv6_prefix: 64 });
        await fail(host, [...five('fd77:0:0:5::/64'), ...five('10.77.0.30')]);
        await waitForBan(host, 'fd77:0:0:5::/64');
        await waitForBan(host, '10.77.0.30');
        expect(await host.attack({ from: 'fd77:0:0:5::77', port: 81 })).toBe('refused');
        expect(await host.attack({ from: 'fd77:0:0:6::77', port: 81 })).toBe('open');
        expect(await host.attack({ from: '10.77.0.30', port: 443, udp: true })).toBe('refused');
        expect(await host.attack({ from: '10.77.0.30', port: 8080 })).toBe('open');
        await host.exec('fail2ban-client set posternproxy unbanip fd77:0:0:5::/64 10.77.0.30');
        expect(await host.attack({ from: 'fd77:0:0:5::77', port: 81 })).toBe('open');
        expect(await host.attack({ from: '10.77.0.30', port: 443, udp: true })).toBe('open');
      },
    );

    it('the filter matches the expected addresses in samples and hostile events, and no others', async () => {
      const run: Run = async (program, args) => {
        const log = args.at(-2) ?? '';
        await host.put(log, log);
        const ran = await host.exec([program, ...args], { check: false });
        return { exitCode: ran.code, stdout: ran.stdout, stderr: ran.stderr };
      };
      const lines = [
        ...samples.map(({ line, host: matched }) => ({ line, matched })),
        ...fc.sample(hostile, { numRuns: 2_000 }),
      ];
      const found = await testFilter(lines.map(({ line }) => `${line}\n`).join(''), 'posternproxy', run);
      expect(found.map(canonical)).toEqual(lines.flatMap(({ matched }) => matched ?? []));
    });

    it('fail2ban logs no error', async () => {
      const { stdout } = await host.exec("grep -E ' (ERROR|CRITICAL) ' /var/log/fail2ban.log || :");
      expect(stdout).toBe('');
    });
  });
}
