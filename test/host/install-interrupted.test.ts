import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { install, jails, recordFailures, release, startPostern, UNPACKED, unpack } from './release.js';

const banned = (host: Host) =>
  host.exec("fail2ban-client status posternproxy | sed -n 's/.*Banned IP list:[[:space:]]*//p'");

describeHost('install.sh after an interruption, and --uninstall', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'install-broken-off',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await host.exec('touch /var/log/auth.log');
    await unpack(host);
    await startPostern(host);
  });
  afterAll(() => host.stop());

  it('install.sh reports an obstacle and the next step before any change', async () => {
    const cases = [
      ['mount -t tmpfs -o noexec tmpfs /opt', 'umount /opt', '', 'mount -o remount,exec /opt'],
      [
        'mount -t tmpfs -o size=60m tmpfs /opt',
        'umount /opt',
        '',
        '/opt has 60 MB free, but the program needs ',
      ],
      [
        'mount --bind /etc/systemd/system /etc/systemd/system; mount -o remount,ro,bind /etc/systemd/system',
        'umount /etc/systemd/system',
        '',
        '/etc/systemd/system is read-only',
      ],
      ['true', 'true', '--admin-net foo', '--admin-net foo is neither an address nor a network'],
    ] as const;
    for (const [fault, end, options, words] of cases) {
      await host.exec(fault);
      const { code, said } = await install(host, options, { check: false });
      await host.exec(end);
      expect(code).not.toBe(0);
      expect(said).toContain(words);
      expect(said).not.toMatch(/ {2}done|SQLite|config\.yml|journalctl/);
    }
    expect((await host.exec('ls -A /opt')).stdout).toBe('');
  });

  // A lost session ends with SIGHUP, and its output is lost, but the journal has it.
  it.each([
    ['INT', 130],
    ['TERM', 143],
    ['HUP', 129],
  ])(
    'install.sh reports its changes and the next command after SIG%s, and undoes unfinished steps',
    async (signal, status) => {
      // By then the program's directory is staged, and cp is still running.
      const { stdout } = await host.exec(
        // A shell starts background processes with SIGINT ignored.
        `cd / && { env --default-signal ${UNPACKED}/install.sh --no-fail2ban >/root/said 2>&1; echo $? >/root/status; } &
       for try in $(seq 3000); do [ ! -d /opt/.postern-auditd.new ] || break; sleep 0.02; done
       pkill -${signal} -o -f '^bash ${UNPACKED}/install.sh'; wait; cat /root/said /root/status`,
      );
      expect(stdout.trim().split('\n').at(-1)).toBe(String(status));
      expect(stdout).toContain(`install.sh was interrupted (${signal}) while `);
      expect(stdout).toContain(`next: run ${UNPACKED}/install.sh --no-fail2ban again`);
      expect((await host.exec('ls -A /opt')).stdout).toBe('');
      const { stdout: journal } = await host.exec('journalctl -t postern-auditd-install -o cat');
      expect(journal).toContain(`interrupted (SIG${signal})`);
    },
  );

  it('an interrupted install.sh continues from the current state at the next run', async () => {
    await install(host);
    expect(await jails(host)).toContain('posternproxy');
  });

  it('--uninstall lifts every ban, and a new jail restores none', async () => {
    await recordFailures(host, '10.77.3.3');
    await recordFailures(host, '10.77.3.4');
    await host.waitFor(
      'fail2ban-client status posternproxy',
      (out) => out.includes('10.77.3.3') && out.includes('10.77.3.4'),
      60,
    );
    await install(host, '--uninstall', { from: '/opt/postern-auditd' });
    expect((await host.exec('iptables-save')).stdout).not.toContain('10.77.3.');
    await install(host);
    expect((await banned(host)).stdout).not.toContain('10.77.3.');
    await host.exec('systemctl restart fail2ban');
    await host.waitFor('fail2ban-client status posternproxy', (out) => out.includes('Banned IP list'));
    expect((await banned(host)).stdout).not.toContain('10.77.3.');
  });
});
