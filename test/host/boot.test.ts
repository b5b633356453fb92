import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host, type Suite } from './host.js';
import { expectJails, install, recordFailures, release, startPostern, unpack } from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const AUTH = '/var/log/posternproxy/auth';

/** Fills /var/log, a tmpfs, at each boot before any of our units starts. */
const FILL = `[Unit]
DefaultDependencies=no
RequiresMountsFor=/var/log
After=systemd-tmpfiles-setup.service systemd-journald.service
Before=postern-auditd-logs.service
[Service]
Type=oneshot
ExecStart=-/bin/dd if=/dev/zero of=/var/log/full bs=4k
[Install]
WantedBy=sysinit.target
`;

for (const suite of ['bookworm', 'trixie'] as readonly Suite[]) {
  describeHost(`a boot of ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({
        suite,
        name: `boot-${suite}`,
        node: false,
        binds: [`${release()}:/release:ro`],
      });
      await unpack(host);
      await startPostern(host);
      await install(host);
      await expectJails(host, ['posternproxy', 'sshd']);
    });
    afterAll(() => host.stop());

    async function expectJailsAfterBoot(): Promise<void> {
      await host.reboot();
      await expectJails(host, ['posternproxy', 'sshd']);
    }

    it('a boot starts fail2ban with all jails when /var/log is a tmpfs, and the daemon uses the same files', async () => {
      await host.exec("echo 'tmpfs /var/log tmpfs mode=0755,size=64m 0 0' >>/etc/fstab");
      await expectJailsAfterBoot();
      expect((await host.exec('findmnt -no FSTYPE /var/log')).stdout.trim()).toBe('tmpfs');
      await host.waitFor('systemctl is-active postern-auditd', (out) => out.startsWith('active'));
      const modes = await host.exec(`cd ${AUTH}/..; stat -c '%U %G %a %n' audit auth bans auth/*.log`);
      expect(modes.stdout).toBe(
        `postern-auditd adm 2750 audit
postern-auditd adm 2750 auth
root root 755 bans
postern-auditd adm 640 auth/fail2ban.0.log
postern-auditd adm 640 auth/fail2ban.1.log
`,
      );
      await startPostern(host, { again: true });
      await recordFailures(host, '10.77.0.81');
      // The last action of the ban writes this line. fail2ban lists the ban before its actions have run.
      await host.waitFor(`cat ${AUTH}/../bans/bans.log`, (out) => out.includes('10.77.0.81'));
      const { stdout } = await host.exec(`cat ${AUTH}/*.log; cat ${AUTH}/../bans/bans.log`);
      // Exactly five lines: nothing is counted or written twice.
      expect(stdout.match(/"10\.77\.0\.81"/g)?.length).toBeGreaterThanOrEqual(5);
      expect((await host.exec('fail2ban-client status posternproxy')).stdout).toMatch(/Total failed:\s*5\n/);
    });

    it('a boot starts fail2ban with all jails when the daemon can not start', async () => {
      await host.exec(`cp ${CONFIG} /root/config.yml; echo 'nonsense: [' >>${CONFIG}`);
      await expectJailsAfterBoot();
      expect((await host.exec('systemctl is-active postern-auditd', { check: false })).stdout).not.toBe(
        'active\n',
      );
      expect((await host.exec(`cat ${AUTH}/*.log`)).stdout.match(/daemon\.log_opened/g)).toHaveLength(2);
      await host.exec(`mv /opt/postern-auditd/node /opt/postern-auditd/gone`);
      await expectJailsAfterBoot();
      await host.exec(`mv /opt/postern-auditd/gone /opt/postern-auditd/node; cp /root/config.yml ${CONFIG}`);
    });

    it('a boot starts fail2ban with all jails when /var/log is full', async () => {
      await host.exec("sed -i '/var.log/s/size=64m/size=256k/' /etc/fstab");
      await host.write('/etc/systemd/system/fill.service', FILL);
      await host.exec('systemctl enable fill.service');
      await expectJailsAfterBoot();
      expect((await host.exec('df --output=avail /var/log')).stdout).toMatch(/\n\s*0\n/);
      await host.exec("systemctl disable fill.service; sed -i '/var.log/s/size=256k/size=64m/' /etc/fstab");
    });

    it('the unit creates missing log files and replaces a pipe before each start of fail2ban', async () => {
      await host.reboot();
      await host.waitFor('systemctl is-active postern-auditd', (out) => out.startsWith('active'));
      await host.exec(
        `systemctl stop postern-auditd fail2ban; rm ${AUTH}/fail2ban.0.log ${AUTH}/fail2ban.1.log; mkfifo ${AUTH}/fail2ban.1.log`,
      );
      await host.exec('timeout 60 systemctl restart fail2ban');
      await expectJails(host, ['posternproxy', 'sshd']);
      await host.exec('systemctl start postern-auditd');
    });
  });
}
