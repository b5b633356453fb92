import { afterAll, beforeAll, expect, it } from 'vitest';
import { whyNoDebian } from '../support/debian.js';
import { AptRepository, apt } from './apt.js';
import { bootHost, describeHost, type Host } from './host.js';
import { expectJails, recordFailures, snapshot, startPostern, waitForFail2ban } from './release.js';

const reason = whyNoDebian();
if (reason !== null && process.env.CI) throw new Error(reason);
if (reason !== null) console.warn(`SKIPPED the Debian package on a host: ${reason}`);

// More hosts and cases: test/host/deb-*.release.ts.
if (reason === null)
  describeHost('apt-get install postern-auditd on bookworm', () => {
    let host: Host;
    let repository: AptRepository;
    let before: string[];
    beforeAll(async () => {
      repository = new AptRepository();
      host = await bootHost({ suite: 'bookworm', name: 'deb', node: false });
      await host.exec('touch /var/log/auth.log; systemctl enable --now fail2ban');
      await waitForFail2ban(host);
      await startPostern(host);
      await repository.serve(host);
      before = await snapshot(host, '/etc /usr /opt /var/lib/systemd');
    });
    afterAll(async () => {
      await host.stop();
      repository.remove();
    });

    it('installs from the signed repository an active daemon and a jail', async () => {
      const { said } = await apt(host, 'install postern-auditd');
      expect(said).not.toMatch(/warning|error|did not start/i);
      const units = 'postern-auditd.service postern-auditd-fail2ban.socket postern-auditd-purge.socket';
      const active = await host.exec(
        `systemctl is-active ${units}; systemctl is-enabled ${units} postern-auditd-logs`,
      );
      expect(active.stdout).toBe('active\n'.repeat(3) + 'enabled\n'.repeat(4));
      // What only a request starts was not started by the installation.
      const idle = await host.exec('systemctl is-active postern-auditd-purge.service', { check: false });
      expect(idle.stdout).toBe('inactive\n');
      await expectJails(host, ['posternproxy', 'sshd']);
      expect((await host.exec('postern-auditd check')).stdout).toMatch(/All is well\.\n$/);
    });

    it('five failed logins close the port to the attacker', async () => {
      const ip = '10.77.4.66';
      await recordFailures(host, ip);
      await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes(ip));
      expect(await host.attack({ port: 81, from: ip })).not.toBe('open');
    });

    it('purge lifts the bans and leaves nothing but the user', async () => {
      await apt(host, 'purge postern-auditd');
      await expectJails(host, ['sshd']);
      expect(await host.attack({ port: 81, from: '10.77.4.66' })).toBe('open');
      const units = await host.exec("systemctl list-units --all --no-legend 'postern-auditd*'");
      expect(units.stdout).toBe('');
      const gone = await host.exec(
        'ls -d /etc/postern-auditd /var/lib/postern-auditd /var/log/posternproxy',
        { check: false },
      );
      expect(gone.stdout).toBe('');
      const files = (lines: string[]) =>
        lines.filter(
          (line) =>
            / [fl] /.test(line) &&
            !/^\/etc\/((passwd|group|g?shadow|subuid|subgid)-?|ld\.so\.cache) /.test(line),
        );
      expect(files(await snapshot(host, '/etc /usr /opt /var/lib/systemd'))).toEqual(files(before));
    });
  });
