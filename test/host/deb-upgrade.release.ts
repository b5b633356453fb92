import { afterAll, beforeAll, expect, it } from 'vitest';
import { AptRepository, apt, withoutAnswers } from './apt.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';
import { endLoad, startLoad } from './load.js';
import { expectJails, install, release, startPostern, unpack, waitForFail2ban } from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const REINSTALL = 'install --reinstall postern-auditd';

/** A release to come from, such as that of an earlier commit: a directory with its tarball. */
const BEFORE = process.env.POSTERN_TEST_BEFORE;

let repository: AptRepository;
beforeAll(() => {
  repository = new AptRepository();
  repository.build(2);
});
afterAll(() => repository.remove());

const pidOf = async (host: Host) =>
  (await host.exec('systemctl show -P MainPID postern-auditd')).stdout.trim();
const stateOf = async (host: Host, unit = 'postern-auditd.service') =>
  (await host.exec(`systemctl is-enabled ${unit}; systemctl is-active ${unit}`, { check: false })).stdout;

async function boot(suite: Suite, name: string): Promise<Host> {
  const binds = [`${repository.packages}:/packages:ro`, `${BEFORE ?? release()}:/release:ro`];
  const host = await bootHost({ suite, name: `${name}-${suite}`, node: false, binds });
  await host.exec('touch /var/log/auth.log; systemctl enable --now fail2ban');
  await waitForFail2ban(host);
  await startPostern(host);
  await repository.serve(host);
  return host;
}

for (const suite of ['bookworm', 'trixie'] as readonly Suite[]) {
  describeHost(`an upgrade of the Debian package on ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await boot(suite, 'deb-upgrade');
      await apt(host, 'install postern-auditd');
    });
    afterAll(() => host.stop());

    it('at 200 rows a second, each row is once in audit and once in auth', async () => {
      const pid = await pidOf(host);
      await startLoad(host, 200);
      const { said } = await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      const { rows, audit, auth, pause } = await endLoad(host);
      expect(said).not.toMatch(/warning|error|did not start/i);
      expect(await pidOf(host)).not.toBe(pid);
      console.info(
        `${suite}: ${rows} rows, audit ${JSON.stringify(audit)}, auth ${JSON.stringify(auth)}, ${pause} s without a look`,
      );
      expect(rows).toBeGreaterThan(1_000);
      const each = { rows, lost: 0, twice: 0 };
      expect({ audit, auth }).toEqual({ audit: each, auth: each });
      await expectJails(host, ['posternproxy', 'sshd']);
    });

    it('asks nothing and changes nothing in a configuration that was edited', async () => {
      await host.exec(`sed -i 's/^# *min_free:.*/min_free: 123M/; $a # mine' ${CONFIG}`);
      const edited = (await host.exec(['cat', CONFIG])).stdout;
      // From an SSH session: its address goes only into a configuration that is written.
      await withoutAnswers(
        host,
        "SSH_CONNECTION='10.77.0.250 50000 10.77.0.2 22' dpkg -i /packages/postern-auditd_1.deb",
      );
      expect((await host.exec(['cat', CONFIG])).stdout).toBe(edited);
      expect(await stateOf(host)).toBe('enabled\nactive\n');
    });

    it('says at a downgrade what an older daemon may refuse', async () => {
      await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      const { said } = await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_1.deb');
      expect(said).toMatch(/postern-auditd: .*-1 is older\. If its daemon refuses state\.db/);
      expect(await stateOf(host)).toBe('enabled\nactive\n');
    });

    it('a configuration that the new version refuses leaves the running daemon alone', async () => {
      const pid = await pidOf(host);
      await host.exec(`cp -a ${CONFIG} /root/good.yml; echo 'min_fre: 1G' >>${CONFIG}`);
      const { code, said } = await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      expect(code).toBe(0);
      expect(said).toContain('config.yml:');
      expect(said).toContain(`this version refuses ${CONFIG}`);
      expect(await pidOf(host)).toBe(pid);
      await expectJails(host, ['posternproxy', 'sshd']);
      await host.exec(`cp -a /root/good.yml ${CONFIG}`);
      await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      expect(await pidOf(host)).not.toBe(pid);
      expect(await stateOf(host)).toBe('enabled\nactive\n');
    });

    it('a daemon that the administrator disabled stays so', async () => {
      await host.exec('systemctl disable --now postern-auditd');
      await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_1.deb');
      expect(await stateOf(host)).toBe('disabled\ninactive\n');
      await host.exec('systemctl enable --now postern-auditd');
    });

    it('the jail of another program that is broken stays as it is, and dpkg succeeds', async () => {
      await host.exec(
        "printf '[other]\\nenabled = true\\nfilter = nowhere\\nlogpath = /var/log/auth.log\\n' >/etc/fail2ban/jail.d/other.conf",
      );
      const { code } = await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      expect(code).toBe(0);
      await expectJails(host, ['posternproxy', 'sshd']);
      await host.exec('rm /etc/fail2ban/jail.d/other.conf');
    });

    it('succeeds without a running systemd, and starts with the next boot', async () => {
      const hidden =
        "unshare --mount sh -c 'mount -t tmpfs none /run/systemd && exec dpkg -i /packages/postern-auditd_1.deb'";
      const { code, said } = await withoutAnswers(host, hidden);
      expect([code, said]).toEqual([0, expect.stringContaining('systemd is not running here')]);
      expect(await stateOf(host)).toBe('enabled\nactive\n');
    });

    it('the daemon of a second database is restarted by an upgrade, unless its configuration is refused', async () => {
      const unit = 'postern-auditd@b.service';
      const pid = async () => (await host.exec(`systemctl show -P MainPID ${unit}`)).stdout;
      await host.exec(
        `cp -a /var/lib/posternproxy /var/lib/other && rm -f /var/lib/other/*-wal /var/lib/other/*-shm
         postern-auditd setup --instance b --database /var/lib/other && systemctl enable --now ${unit}`,
      );
      await expectJails(host, ['postern-b', 'posternproxy', 'sshd']);
      const first = await pid();
      await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_2.deb');
      const second = await pid();
      expect(second).not.toBe(first);
      await host.exec(
        "cp -a /etc/postern-auditd@b/config.yml /root/b.yml; echo 'min_fre: 1G' >>/etc/postern-auditd@b/config.yml",
      );
      const { code, said } = await withoutAnswers(host, 'dpkg -i /packages/postern-auditd_1.deb');
      expect([code, said]).toEqual([
        0,
        expect.stringContaining('refuses the configuration of the instance b'),
      ]);
      expect(await pid()).toBe(second);
      await host.exec('cp -a /root/b.yml /etc/postern-auditd@b/config.yml');
      expect(await stateOf(host, unit)).toBe('enabled\nactive\n');
    });

    it('removes, and is enabled again when it is installed again', async () => {
      await host.exec('fail2ban-client set posternproxy banip 10.77.0.94');
      await apt(host, 'remove postern-auditd');
      expect(await stateOf(host)).toMatch(/inactive\n$/);
      const running = await host.exec("systemctl list-units --no-legend --state=active 'postern-auditd*'");
      expect(running.stdout).toBe('');
      await expectJails(host, ['sshd']);
      expect((await host.exec(`ls ${CONFIG} /var/lib/postern-auditd/state.db`)).stdout).toContain('state.db');
      await apt(host, 'install postern-auditd');
      expect(await stateOf(host)).toBe('enabled\nactive\n');
      await expectJails(host, ['posternproxy', 'sshd']);
      expect((await host.exec('fail2ban-client get posternproxy banip')).stdout).not.toContain('10.77.0.94');
      await apt(host, REINSTALL);
    });

    it('purge keeps archives that hold entries, and says so', async () => {
      await host.exec('install -D /etc/hostname /var/lib/postern-auditd/archive/2026-01.ndjson.gz');
      const { said } = await apt(host, 'purge postern-auditd');
      expect(said).toContain('kept /var/lib/postern-auditd/archive, which holds archived entries');
      expect((await host.exec('ls -A /var/lib/postern-auditd')).stdout).toBe('archive\n');
      const gone = await host.exec(
        'ls -d /etc/postern-auditd* /var/lib/postern-auditd@b /var/log/posternproxy*',
        {
          check: false,
        },
      );
      expect(gone.stdout).toBe('');
    });
  });

  describeHost(`from the tarball to the Debian package on ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await boot(suite, 'deb-adopt');
      await unpack(host);
      await install(host);
    });
    afterAll(() => host.stop());

    it('takes over at 200 rows a second: each row is once in audit and once in auth', async () => {
      await host.write(
        '/etc/systemd/system/postern-auditd.service.d/mine.conf',
        '[Service]\nEnvironment=MINE=yes\n',
      );
      await host.exec(
        `systemctl daemon-reload; systemctl disable --now postern-auditd-purge.socket; echo '# mine' >>${CONFIG}`,
      );
      const config = (await host.exec(['cat', CONFIG])).stdout;
      await startLoad(host, 200);
      const { said } = await apt(host, 'install postern-auditd');
      const { rows, audit, auth, pause } = await endLoad(host);
      console.info(
        `${suite}: ${rows} rows, audit ${JSON.stringify(audit)}, auth ${JSON.stringify(auth)}, ${pause} s without a look`,
      );
      expect(said).toContain('took over the installation of /opt/postern-auditd');
      expect(said).not.toMatch(/warning|error|did not start/i);
      const each = { rows, lost: 0, twice: 0 };
      expect({ audit, auth }).toEqual({ audit: each, auth: each });
      expect((await host.exec(['cat', CONFIG])).stdout).toBe(config);
    });

    it('nothing of the tarball is left, what the administrator set is, and the units are those of the package', async () => {
      const left = await host.exec(
        `ls -d /opt/postern-auditd /opt/.postern-auditd* /usr/local/bin/postern-auditd
         find /usr/local/share /etc/systemd -name '*postern-auditd*' -type f; grep -rl /opt/postern-auditd /etc/systemd /etc/fail2ban /etc/logrotate.d`,
        { check: false },
      );
      expect(left.stdout).toBe('');
      expect(await stateOf(host)).toBe('enabled\nactive\n');
      expect(await stateOf(host, 'postern-auditd-purge.socket')).toBe('disabled\ninactive\n');
      const unit = await host.exec('systemctl show -P FragmentPath -P Environment postern-auditd');
      expect(unit.stdout).toMatch(/^\/(usr\/)?lib\/systemd\/system\/postern-auditd\.service$/m);
      expect(unit.stdout).toContain('MINE=yes');
      await expectJails(host, ['posternproxy', 'sshd']);
      await host.exec('systemctl enable --now postern-auditd-purge.socket');
      expect((await host.exec('postern-auditd check')).stdout).toMatch(/All is well\.\n$/);
    });

    it('its identity, bans and log rotation are those of before', async () => {
      expect((await host.exec('cat /etc/logrotate.d/postern-auditd')).stdout).not.toContain('install.sh');
      const banned = () =>
        host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes('10.77.0.94'));
      await host.exec('fail2ban-client set posternproxy banip 10.77.0.94');
      await banned();
      await host.exec('systemctl restart fail2ban');
      await waitForFail2ban(host);
      await banned();
      const { said } = await withoutAnswers(host, 'logrotate --force /etc/logrotate.d/postern-auditd');
      expect(said).not.toContain('error');
    });
  });
}
