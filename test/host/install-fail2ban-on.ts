import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host, type Suite } from './host.js';
import { expectJails, install, release, snapshot, startPostern, unpack } from './release.js';

const SSHD_JAIL = '/etc/fail2ban/jail.d/postern-auditd-sshd.conf';

/** Directory in which host.sh keeps the packages of the host's file system. */
const store = process.env.POSTERN_TEST_HOSTS ?? join(homedir(), '.cache/postern-auditd-test-hosts');

/** A repository of the omitted packages, inside the guest, as it reaches no network. */
const repository = `
mkdir -p /repo && cd /repo
for deb in /debs/fail2ban_*.deb /debs/python3-systemd_*.deb; do
  cp "$deb" . && name=$(basename "$deb")
  dpkg-deb --field "$name"
  printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$name" "$(stat -c %s "$name")" "$(sha256sum "$name" | cut -d ' ' -f 1)"
done >Packages
echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list.d/repo.list`;

/** Modules, a filter and programs with the names that install.sh uses. Each would leave a trace. */
const PREPARED = `install -d /home/evil/systemd /home/evil/fail2ban /home/evil/node_modules/zod
for name in systemd/__init__ systemd/journal fail2ban/__init__ site sitecustomize json; do
  printf 'import os; os.makedirs("/root/owned-by", exist_ok=True)\\n' >/home/evil/$name.py
done
for name in node npm python3 fail2ban-client fail2ban-regex stat sed; do
  printf '#!/bin/sh\\nmkdir -p /root/owned-by\\n' >/home/evil/$name
  chmod 755 /home/evil/$name
done
printf 'require("fs").mkdirSync("/root/owned-by")\\n' >/home/evil/node_modules/zod/index.js
printf '[Definition]\\nfailregex = ^<ADDR>$\\n' >/home/evil/posternproxy`;

export function describeWithoutFail2ban(suite: Suite): void {
  describeHost(`install.sh on ${suite} without fail2ban, and without auth.log`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({
        suite,
        name: `install-f2b-${suite}`,
        node: false,
        binds: [`${release()}:/release:ro`, `${join(store, 'debs', suite)}:/debs:ro`],
      });
      await host.exec(
        `dpkg --purge --force-depends fail2ban python3-systemd >/dev/null 2>&1; rm -rf /etc/fail2ban /var/lib/fail2ban
         systemctl disable --now rsyslog 2>/dev/null; rm -f /var/log/auth.log
         rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*`,
        { check: false },
      );
      await unpack(host);
      await startPostern(host);
    });
    afterAll(() => host.stop());

    it('install.sh names missing packages that can not be downloaded, and stops before any change', async () => {
      const before = await snapshot(host, '/etc /opt /usr /var/lib');
      const { code, said } = await install(host, '', { check: false });
      expect(code).not.toBe(0);
      expect(said).toContain(
        "missing and can't be downloaded: fail2ban python3-systemd. Nothing has been changed.",
      );
      expect(await snapshot(host, '/etc /opt /usr /var/lib')).toEqual(before);
    });

    it('install.sh installs missing packages, and gives the sshd jail an existing log', async () => {
      await host.exec(repository);
      // A user has prepared this directory with files that root's programs might load.
      await host.exec(`${PREPARED} && chown -R nobody /home/evil`);
      await install(host, '', { cwd: '/home/evil' });
      expect((await host.exec('ls /root/owned-by', { check: false })).stdout).toBe('');
      await expectJails(host, ['posternproxy', 'sshd']);
      // Debian 13's own jail already reads the journal.
      const mended = await host.exec(`cat ${SSHD_JAIL}`, { check: false });
      if (suite === 'bookworm') expect(mended.stdout).toContain('[sshd]\nbackend = systemd\n');
      else expect(mended.code).not.toBe(0);
    });

    it('install.sh distinguishes a skipped jail from one that stops fail2ban, and check names jail and file', async () => {
      const theirs = '/etc/fail2ban/jail.d/theirs.conf';
      const check = async () =>
        (await host.exec('/opt/postern-auditd/bin/postern-auditd check', { check: false })).stdout;
      await host.write(
        theirs,
        '[theirs]\nenabled = true\nfilter = gone\nlogpath = /var/log/theirs.log\nbackend = polling\n',
      );
      await host.exec('touch /var/log/theirs.log');
      expect(await check()).toContain(
        `warning  fail2ban skips the jail theirs (${theirs}): Unable to read the filter 'gone'`,
      );
      // A stopped fail2ban that can start does not prevent the installation.
      await install(host, '--uninstall', { from: '/opt/postern-auditd' });
      await host.exec('systemctl stop fail2ban');
      const { said } = await install(host);
      expect(said).toContain(
        'warning: fail2ban skips the jails theirs, because a filter or an action is missing',
      );
      await expectJails(host, ['posternproxy', 'sshd']);

      await host.exec(`rm /var/log/theirs.log; sed -i 's/gone/sshd/' ${theirs}; systemctl restart fail2ban`, {
        check: false,
      });
      const reason = `the jail theirs (${theirs}): none of its log files exists (logpath /var/log/theirs.log)`;
      await host.waitFor('fail2ban-client ping || echo down', (out) => out.includes('down'));
      expect(await check()).toContain(
        `error    fail2ban is not running, so no jail is active: ${reason}\n           next: correct it`,
      );
      await host.exec(`rm ${theirs}; systemctl restart fail2ban`);
      await host.waitFor('fail2ban-client status', (out) => out.includes('posternproxy'));
    });

    it('--uninstall leaves a fail2ban that starts without the jail', async () => {
      await install(host, '--uninstall', { from: '/opt/postern-auditd' });
      await host.exec('systemctl restart fail2ban');
      await host.waitFor('fail2ban-client status', (out) => out.includes('sshd'));
      await expectJails(host, ['sshd']);
    });
  });
}

export function describeBesideJails(): void {
  describeHost("install.sh beside somebody else's fail2ban jails", () => {
    let host: Host;
    const foreign = {
      jail: '[theirs]\nenabled = true\nfilter = theirs\nlogpath = /var/log/theirs.log\nbackend = polling\n',
      filter: '[Definition]\nfailregex = ^refused <ADDR>$\n',
      broken: '[Definition]\nfailregex = ^refused( <ADDR>$\n',
    };
    beforeAll(async () => {
      host = await bootHost({
        suite: 'bookworm',
        name: 'install-beside',
        node: false,
        binds: [`${release()}:/release:ro`],
      });
      await host.exec('touch /var/log/auth.log /var/log/theirs.log');
      await host.write('/etc/fail2ban/jail.d/theirs.conf', foreign.jail);
      await host.write('/etc/fail2ban/filter.d/theirs.conf', foreign.filter);
      await unpack(host);
      await startPostern(host);
    });
    afterAll(() => host.stop());

    it('install.sh rejects a stopped fail2ban with a broken configuration before any change', async () => {
      await host.exec('rm /var/log/theirs.log');
      const before = await snapshot(host, '/etc /opt /usr /var/lib');
      const { code, said } = await install(host, '', { check: false });
      expect(code).not.toBe(0);
      expect(said).toContain('Have not found any log file for theirs jail');
      expect(said).toContain('(the jail theirs is in /etc/fail2ban/jail.d/theirs.conf)');
      expect(said).toContain('Nothing has been changed.');
      expect(await snapshot(host, '/etc /opt /usr /var/lib')).toEqual(before);
    });

    it('install.sh keeps a running jail whose filter on disk is broken', async () => {
      await host.exec('touch /var/log/theirs.log; systemctl start fail2ban');
      await host.waitFor('fail2ban-client status', (out) => out.includes('theirs'));
      await host.write('/etc/fail2ban/filter.d/theirs.conf', foreign.broken);
      await host.write('/etc/fail2ban/jail.local', '[DEFAULT]\nbantime = 1d\nmaxretry = 5\n');
      const { said } = await install(host);
      // Only the settings in which our jail differs from the administrator's are reported.
      expect(said).toContain('note       the jail posternproxy overrides values of [DEFAULT]: bantime');
      expect(said).toContain('("1d" in /etc/fail2ban/jail.local, "3600" in the jail)');
      expect(said).not.toMatch(/note .*maxretry/);
      await host.exec('rm /etc/fail2ban/jail.local');
      await expectJails(host, ['posternproxy', 'sshd', 'theirs']);
    });

    it('install.sh removes a new jail that does not work, and changes no other', async () => {
      await install(host, '--uninstall', { from: '/opt/postern-auditd' });
      await host.exec('touch /var/log/elsewhere.log');
      await host.write(
        '/etc/fail2ban/jail.d/posternproxy.local',
        '[posternproxy]\nlogpath = /var/log/elsewhere.log\n',
      );
      const { code, said } = await install(host, '', { check: false });
      expect(code).not.toBe(0);
      expect(said).toContain('fail2ban does not run the jail posternproxy');
      expect(said).toContain('restored   fail2ban runs its previous jails: sshd theirs');
      await expectJails(host, ['sshd', 'theirs']);
      const ours = 'ls /etc/fail2ban/filter.d/posternproxy* /etc/fail2ban/jail.d/posternproxy.conf';
      expect((await host.exec(ours, { check: false })).stdout).toBe('');
      // The daemon keeps running, as it is not at fault.
      expect((await host.exec('systemctl is-active postern-auditd')).stdout.trim()).toBe('active');
    });

    it('--no-fail2ban changes nothing in fail2ban, is stored, and check reports no problem', async () => {
      const before = await snapshot(host, '/etc/fail2ban');
      const { said } = await install(host, '--no-fail2ban');
      expect(said).not.toContain('fail2ban/');
      expect((await install(host)).said).toContain(
        'fail2ban is left out, because fail2ban.enabled is false in',
      );
      expect(await snapshot(host, '/etc/fail2ban')).toEqual(before);
      const { stdout } = await host.exec('/opt/postern-auditd/bin/postern-auditd check');
      expect(stdout).toContain('ok       disabled by fail2ban.enabled: nobody is banned');
      expect(stdout).toMatch(/All is well\.\n$/);
    });

    it('the jail bans with nftables if iptables is missing, an upgrade suggests it, and --remove-jail removes the jail', async () => {
      const again = { from: '/opt/postern-auditd', check: false };
      await install(host, '--purge', again);
      await host.exec('rm -f /etc/fail2ban/jail.d/posternproxy.local');
      await host.exec('for f in /usr/sbin/*tables*; do case $f in *nft*) ;; *) mv $f $f.away ;; esac; done');
      expect((await install(host)).said).toContain(
        'Bans use nftables-multiport, because iptables is not installed',
      );
      await host.exec('fail2ban-client set posternproxy banip 10.77.5.5');
      await host.waitFor('nft list ruleset', (out) => out.includes('10.77.5.5'));

      await host.exec(
        "sed -i 's/banaction: .*/banaction: iptables-multiport/' /etc/postern-auditd/config.yml",
      );
      const offered = await install(host, '--reconfigure', again);
      expect(offered.code).not.toBe(0);
      expect(offered.said).toContain('add --banaction nftables-multiport');
      const over = await install(host, '--reconfigure --no-fail2ban', again);
      expect(over.said).toContain('The jail posternproxy stays in fail2ban unchanged');
      await expectJails(host, ['posternproxy', 'sshd', 'theirs']);
      await install(host, '--reconfigure --remove-jail', again);
      await expectJails(host, ['sshd', 'theirs']);
      const left = await host.exec('nft list ruleset | grep f2b; ls /etc/fail2ban/*/postern*', {
        check: false,
      });
      expect(left.stdout).toBe('');
    });
  });
}
