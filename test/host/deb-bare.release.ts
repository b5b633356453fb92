import { afterAll, beforeAll, expect, it } from 'vitest';
import { AptRepository, apt } from './apt.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';
import { expectJails, jails, recordFailures, startPostern } from './release.js';

let repository: AptRepository;
beforeAll(() => {
  repository = new AptRepository();
});
afterAll(() => repository.remove());

const attackedUntilBanned = async (host: Host, ip: string) => {
  const since = Date.now();
  await recordFailures(host, ip);
  await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes(ip));
  expect(await host.attack({ port: 81, from: ip })).not.toBe('open');
  return Date.now() - since;
};

// Without fail2ban, rsyslog, iptables, acl and Postern.
for (const suite of ['bookworm', 'trixie'] as readonly Suite[]) {
  describeHost(`the Debian package on a bare ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({ suite, name: `deb-bare-${suite}`, node: false, bare: true });
      await repository.serve(host, suite);
    });
    afterAll(() => host.stop());

    it('without what it recommends, the daemon runs and waits for Postern, and apt says what is missing', async () => {
      const { said } = await apt(host, 'install --no-install-recommends postern-auditd');
      expect(said).toContain('fail2ban is not installed, so nobody is banned');
      expect((await host.exec('systemctl is-active postern-auditd')).stdout).toBe('active\n');
    });

    it('fail2ban that is installed later gets the jail by the trigger', async () => {
      await apt(host, 'install --no-install-recommends fail2ban iptables python3-systemd');
      await host.waitFor('fail2ban-client status', (out) => out.includes('posternproxy'));
      expect(await jails(host)).toContain('posternproxy');
      await startPostern(host);
      await host.exec('postern-auditd setup');
      const ms = await attackedUntilBanned(host, '10.77.4.66');
      console.info(`${suite}: banned ${ms} ms after its failures`);
    });

    it('with what it recommends, apt sets up everything in one run', async () => {
      await apt(host, 'purge --auto-remove postern-auditd fail2ban iptables python3-systemd');
      await host.exec('rm -rf /etc/fail2ban /var/lib/fail2ban');
      await apt(host, 'install postern-auditd');
      const status = await host.exec('dpkg -s fail2ban acl logrotate postern-auditd | grep ^Status');
      expect(status.stdout).toBe('Status: install ok installed\n'.repeat(4));
      await expectJails(host, ['posternproxy', 'sshd']);
      // Postern's stand-in still runs, whatever apt has removed.
      await attackedUntilBanned(host, '10.77.4.67');
    });

    it('the package of the key brings the key that is in use', async () => {
      await apt(host, 'install postern-archive-keyring');
      expect((await host.exec('dpkg -S /usr/share/keyrings/postern-archive-keyring.pgp')).stdout).toContain(
        'postern-archive-keyring',
      );
      await host.exec('apt-get update --error-on=any');
    });
  });
}
