import { afterAll, beforeAll, expect, it } from 'vitest';
import { tellOfBreakIn } from './break-in.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';
import { MODULES, putModules } from './modules.js';
import {
  DATABASE,
  expectJails,
  install,
  recordFailures,
  release,
  snapshot,
  startPostern,
  UNPACKED,
  unpack,
  waitForFail2ban,
} from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const JAIL = '/etc/fail2ban/jail.d/posternproxy.conf';

/** Milliseconds from the failures to the end of the first rejected attempt, and its outcome. */
async function untilBanned(host: Host, ip: string): Promise<{ ms: number; outcome: string }> {
  const since = Date.now();
  await recordFailures(host, ip);
  for (;;) {
    const outcome = await host.attack({ port: 81, from: ip });
    const ms = Date.now() - since;
    if (outcome !== 'open' || ms > 60_000) return { ms, outcome };
  }
}

/** install.sh of a release on one Debian, from the first run to --purge. */
export function describeInstall(suite: Suite): void {
  describeHost(`install.sh of the release on ${suite}`, () => {
    let host: Host;
    let before: string[];
    beforeAll(async () => {
      // The host has no Node.js, as the release contains its own.
      host = await bootHost({
        suite,
        name: `install-${suite}`,
        node: false,
        binds: [`${release()}:/release:ro`],
      });
      await host.exec('touch /var/log/auth.log; systemctl enable --now fail2ban');
      await waitForFail2ban(host);
      await unpack(host);
      await startPostern(host);
      before = await snapshot(host, '/');
    });
    afterAll(() => host.stop());

    it('--dry-run prints the changes, and makes none', async () => {
      const { said } = await install(host, '--dry-run');
      expect(said).toContain('would      install /opt/postern-auditd');
      expect(said).toContain('would      load the jail posternproxy into fail2ban');
      expect(await snapshot(host, '/')).toEqual(before);
    });

    it('install.sh installs an active unit, a working jail, and log files for the group adm', async () => {
      const { said } = await install(host, '--admin-net 10.77.200.0/24', {
        env: "SSH_CONNECTION='10.77.0.250 50000 10.77.0.2 22'",
      });
      expect(said).toContain('Postern: reading');
      expect((await host.exec('systemctl is-active postern-auditd')).stdout.trim()).toBe('active');
      expect((await host.exec('fail2ban-client status posternproxy')).stdout).toContain('fail2ban.1.log');
      await expectJails(host, ['posternproxy', 'sshd']);
      const modes = await host.exec(
        "cd /var/log/posternproxy; stat -c '%U %G %a %n' audit auth bans audit/audit.*.log auth/*.log",
      );
      expect(modes.stdout.replace(/\d+\.log/g, 'N.log').split('\n')).toEqual([
        'postern-auditd adm 2750 audit',
        'postern-auditd adm 2750 auth',
        'root root 755 bans',
        'postern-auditd adm 640 audit/audit.N.log',
        'postern-auditd adm 640 auth/fail2ban.N.log',
        'postern-auditd adm 640 auth/fail2ban.N.log',
        '',
      ]);
      expect((await host.exec(['cat', CONFIG])).stdout).toContain('10.77.0.250, 10.77.200.0/24]');
      const share = await host.exec(
        `cd /usr/local/share && ls man/man1 man/man5 zsh/site-functions fish/vendor_completions.d &&
         bash -c '. bash-completion/completions/postern-auditd && complete -p postern-auditd'`,
      );
      expect(share.stdout.match(/^.*postern-auditd.*$/gm)).toEqual([
        'postern-auditd.fish',
        'postern-auditd.1',
        'postern-auditd.yml.5',
        '_postern-auditd',
        'complete -F _postern_auditd postern-auditd',
      ]);
    });

    it('check reports a stopped daemon as an error, but not what a user can not read', async () => {
      const check = 'postern-auditd check';
      expect((await host.exec(check)).stdout).toMatch(/All is well\.\n$/);
      const asUser = await host.exec(`runuser -u nobody -- ${check}`);
      expect(asUser.stdout).toContain('not checked, as this user lacks the rights: no permission to read');
      expect(asUser.stdout).toContain('next: run postern-auditd check as root (su -)');
      expect(asUser.stdout).not.toContain('--reconfigure');
      await host.exec('systemctl stop postern-auditd');
      const stopped = await host.exec(check, { check: false });
      await host.exec('systemctl start postern-auditd');
      expect(stopped.code).toBe(1);
      expect(stopped.stdout).toContain('error    it is not running');
    });

    // The network of an IPv6 attacker is banned.
    it.each([
      ['IPv4', (n: number) => `10.77.4.${6 + n}`, (address: string) => address, '10.77.4.99'],
      [
        'IPv6',
        (n: number) => `fd77:${6 + n}::66`,
        (address: string) => address.replace('66', '/64'),
        'fd77:99::66',
      ],
    ])(
      'five failed logins close port 81 to the attacker within 3 s, and to no other client: %s',
      async (_, attackerOf, targetOf, other) => {
        let attacker = attackerOf(0);
        expect(await host.attack({ port: 81, from: attacker })).toBe('open');
        // A busy machine gets three attempts at the time limit, each with a separate address.
        let banned = { ms: Number.POSITIVE_INFINITY, outcome: 'open' };
        for (let n = 0; n < 3 && banned.ms > 3_000; n++) {
          attacker = attackerOf(n);
          banned = await untilBanned(host, attacker);
          expect(banned.outcome).not.toBe('open');
        }
        const target = targetOf(attacker);
        expect(banned.ms).toBeLessThanOrEqual(3_000);
        console.info(`${suite}: ${attacker} was banned ${banned.ms} ms after its fifth failure`);
        expect(await host.attack({ port: 81, from: other })).toBe('open');
        expect((await host.exec('fail2ban-client status posternproxy')).stdout).toContain(target);
        await host.exec(`fail2ban-client set posternproxy unbanip ${target}`);
        const rule = `-s ${target.split('/')[0]}/`;
        await host.waitFor(`iptables-save; ip6tables-save`, (out) => !out.includes(rule));
        expect(await host.attack({ port: 81, from: attacker })).toBe('open');
      },
    );

    it.skipIf(suite !== 'bookworm')(
      'a login after a brute force reaches a phone, whatever the user is called',
      async () => {
        const taken = Object.entries(await tellOfBreakIn(host, '10.77.4.40'));
        console.info(
          `messages after the login, ms: ${taken.map(([preset, ms]) => `${preset} ${ms}`).join(', ')}`,
        );
        await host.exec('fail2ban-client set posternproxy unbanip 10.77.4.40');
      },
    );

    it('the helper lets only the daemon list and lift bans', async () => {
      const banned = async () =>
        (await host.exec('fail2ban-client get posternproxy banip')).stdout.split(/\s+/);
      const jail = (call: string) =>
        `import('${MODULES}/fail2ban/helper-client.js').then(({ createJail }) => createJail('posternproxy').${call}).then((said) => console.log(JSON.stringify(said)), (error) => console.log(error.message))`;
      // The same confinement as the daemon's: a separate user and root file system.
      const asDaemon = async (call: string) =>
        (
          await host.exec([
            ...'systemd-run --quiet --pipe --wait --uid=postern-auditd -p PrivateUsers=yes -p ProtectSystem=strict'.split(
              ' ',
            ),
            ...['-p', 'NoNewPrivileges=yes', '/opt/postern-auditd/node/bin/node', '-e', jail(call)],
          ])
        ).stdout;
      const raw = async (user: string, request: string) =>
        (
          await host.exec(
            [
              ...['runuser', '-u', user, '--', 'python3', '-c'],
              "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect('/run/postern-auditd-fail2ban.sock'); s.sendall(sys.stdin.buffer.read()); s.shutdown(1)\nwhile (d:=s.recv(4096)): sys.stdout.write(d.decode())",
            ],
            { input: request, check: false },
          )
        ).stdout;
      await putModules(host);
      await host.exec('fail2ban-client set posternproxy banip 10.77.0.91 10.77.0.92');

      expect(JSON.parse(await asDaemon('report()')).status.banned).toEqual(
        expect.arrayContaining(['10.77.0.91', '10.77.0.92']),
      );
      expect(await asDaemon("unban('10.77.0.91')")).toBe('["10.77.0.91"]\n');
      expect(await banned()).not.toContain('10.77.0.91');
      expect(await raw('nobody', 'unban 10.77.0.92')).toBe('');
      expect(await raw('postern-auditd', 'ban 10.77.0.1')).toMatch(/^error only/);
      expect(await raw('postern-auditd', 'unban --all')).toBe('error not an address\n');
      expect(await raw('postern-auditd', 'unban 10.77.0.92;fail2ban-client stop')).toBe(
        'error not an address\n',
      );
      expect(await banned()).toContain('10.77.0.92');
      expect(await raw('root', 'unban 10.77.0.92')).toBe('ok\n');
      expect(await banned()).not.toContain('10.77.0.92');
      // The running daemon itself, with its confinement.
      await host.exec('fail2ban-client set posternproxy banip 10.77.0.93');
      const { stdout: made } = await host.exec(
        '/opt/postern-auditd/bin/postern-auditd token create test --scope admin --json',
      );
      const { token } = JSON.parse(made) as { token: string };
      const deleted = await host.exec(
        [
          ...['python3', '-c'],
          "import sys,urllib.request as u; r=u.Request('http://127.0.0.1:8181/api/bans/10.77.0.93', method='DELETE', headers={'authorization': 'Bearer '+sys.argv[1]}); print(u.urlopen(r).read().decode())",
          token,
        ],
        { check: false },
      );
      expect(`${deleted.stdout}${deleted.stderr}`).toContain('"unbanned":"10.77.0.93"');
      expect(await banned()).not.toContain('10.77.0.93');
      const page = await host.exec(
        'python3 -c "import urllib.request as u; print(u.urlopen(\'http://127.0.0.1:8181/audit-log\').read().decode())"',
      );
      expect(page.stdout).toContain('<title>Log in');
      // Its query threads have a lower priority than the shipping thread, in spite of the confinement.
      const asked = [
        'python3',
        '-c',
        "import sys,urllib.request as u; print(u.urlopen(u.Request('http://127.0.0.1:8181/api/audit-log?limit=1', headers={'authorization': 'Bearer '+sys.argv[1]})).status)",
        token,
      ];
      expect((await host.exec(asked)).stdout).toBe('200\n');
      const nices = (await host.exec('ps -L -o ni= -p $(systemctl show -P MainPID postern-auditd)')).stdout;
      expect(nices.split('\n').filter((nice) => nice.trim() === '5')).toHaveLength(1);
      // It can write nowhere, and reach only fail2ban's socket.
      const { stdout } = await host.exec(
        'systemd-analyze security --no-pager postern-auditd-fail2ban@0-0-0.service | tail -n 1',
      );
      expect(Number(/: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThanOrEqual(1.5);
    });

    it('the jail never bans the SSH session of the installation, nor an --admin-net', async () => {
      await recordFailures(host, '10.77.0.250');
      await recordFailures(host, '10.77.200.7');
      await recordFailures(host, '10.77.0.70');
      await host.waitFor('fail2ban-client status posternproxy', (out) => out.includes('10.77.0.70'));
      expect(await host.attack({ port: 81, from: '10.77.0.250' })).toBe('open');
      expect(await host.attack({ port: 81, from: '10.77.200.7' })).toBe('open');
    });

    it('install.sh changes nothing at a second run', async () => {
      const state = async () => [
        ...(await snapshot(host, '/')).filter((line) => !line.startsWith('/var/lib/postern')),
        (await host.exec('systemctl show -p MainPID postern-auditd fail2ban posternproxy')).stdout,
        (await host.exec('fail2ban-client status posternproxy')).stdout,
      ];
      const first = await state();
      const { said } = await install(host, '--admin-net 10.77.200.0/24', {
        env: "SSH_CONNECTION='10.77.0.250 50000 10.77.0.2 22'",
      });
      expect(said).toContain('nothing has been changed');
      expect(said).not.toMatch(/^ {2}done/m);
      expect(await state()).toEqual(first);
    });

    // One system is enough, as the result is the same on both.
    const once = it.skipIf(suite !== 'bookworm');
    once(
      'an upgrade keeps configuration and bans, and the old version if the new one does not run',
      async () => {
        await host.exec(
          `echo '# ours' >>${CONFIG}; cp ${CONFIG} /root/mine.yml; cp -a ${UNPACKED} /root/newer`,
        );
        const manifest =
          'cd /root/newer && find . -type f ! -path ./MANIFEST -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >MANIFEST';
        await host.exec(
          `for f in config/config.yml fail2ban/filter.d/posternproxy.conf; do echo '# newer' >>/root/newer/$f; done; ${manifest}`,
        );
        const upgraded = await install(host, '', { from: '/root/newer' });
        // The jail comes first: a new daemon may write lines that the old jail does not accept.
        const taken = upgraded.said.indexOf('load the jail posternproxy into fail2ban');
        expect(taken).toBeGreaterThan(0);
        expect(upgraded.said.indexOf('start postern-auditd.service')).toBeGreaterThan(taken);
        expect(upgraded.said).toContain('done       install /opt/postern-auditd');
        expect((await host.exec(`cmp ${CONFIG} /root/mine.yml && tail -n 1 ${CONFIG}.example`)).stdout).toBe(
          '# newer\n',
        );
        expect((await host.exec('fail2ban-client status posternproxy')).stdout).toContain('10.77.0.70');

        await host.exec(
          `for f in /root/newer/dist/daemon-*.js; do echo 'throw new Error("broken")' >$f; done; ${manifest}`,
        );
        const broken = await install(host, '', { from: '/root/newer', check: false });
        expect(broken.code).not.toBe(0);
        expect(broken.said).toContain('postern-auditd.service did not start');
        expect(broken.said).toContain(
          'restored   the previous program in /opt/postern-auditd; postern-auditd.service is active',
        );
        expect((await host.exec('systemctl is-active postern-auditd')).stdout.trim()).toBe('active');
      },
    );

    it('--reconfigure writes the jail for a changed configuration, and keeps its bans', async () => {
      await host.exec(`sed -i 's/ports: .*/ports: [81, 8181]/' ${CONFIG}`);
      const pid = 'systemctl show -p MainPID postern-auditd';
      const before = (await host.exec(pid)).stdout;
      await install(host, '--reconfigure', { from: '/opt/postern-auditd' });
      expect((await host.exec(pid)).stdout).toBe(before);
      expect((await host.exec(['cat', JAIL])).stdout).toContain('port = 81,8181');
      await host.waitFor('iptables-save', (out) => out.includes('81,8181') && out.includes('10.77.0.70/32'));
      expect(await host.attack({ port: 81, from: '10.77.0.70' })).not.toBe('open');
    });

    it('a reload rejects an invalid configuration and reports the position; daemon and commands keep working', async () => {
      const command = '/opt/postern-auditd/bin/postern-auditd';
      const show = async (property: string) =>
        (await host.exec(`systemctl show -P ${property} postern-auditd`)).stdout.trim();
      const pid = await show('MainPID');
      await host.exec(`cp -a ${CONFIG} /root/good.yml; echo 'min_fre: 2G' >>${CONFIG}`);
      const place = /config\.yml:\d+:1: min_fre: found an unknown key\. Did you mean min_free\?/;
      const reload = await host.exec('systemctl reload postern-auditd', { check: false });
      expect(reload.code).toBe(1);
      expect(
        await host.waitFor('systemctl show -P StatusText postern-auditd', (out) => place.test(out)),
      ).toMatch(/^new configuration rejected: config\.yml:/);
      const told = (await host.exec('journalctl -u postern-auditd -o cat -n 12 --no-pager')).stdout;
      expect(told).toMatch(place);
      expect(told).not.toMatch(/ {4}at |\{"level"/);
      const errors = await host.exec('journalctl -u postern-auditd -p err -o cat -n 5 --no-pager');
      expect(errors.stdout).toMatch(
        /^new configuration rejected, the previous one stays active: .*config\.yml:\d+:1: min_fre/m,
      );
      expect([await show('ActiveState'), await show('MainPID')]).toEqual(['active', pid]);

      await host.exec('fail2ban-client set posternproxy banip 10.77.0.94');
      const unban = await host.exec([command, 'unban', '10.77.0.94']);
      expect(unban.stdout).toBe('10.77.0.94 is no longer banned in jail posternproxy\n');
      expect(unban.stderr).toMatch(place);
      const status = await host.exec([command, 'status'], { check: false });
      expect([status.code, status.stdout]).toEqual([
        1,
        expect.stringContaining('new configuration rejected'),
      ]);

      // A signal has the same effect: no file elsewhere is read.
      await host.exec(`cp -a /root/good.yml ${CONFIG}; kill -HUP ${pid}`);
      await host.waitFor('systemctl show -P StatusText postern-auditd', (out) => out.startsWith('Postern: '));
      await host.exec('systemctl reload postern-auditd');
      expect(await show('MainPID')).toBe(pid);
    });

    it('fail2ban bans a remote client that guesses API tokens, and no client on this host', async () => {
      const guesser = '10.77.0.61';
      const all = `sed -i -e 's/listen: .*/listen: "0.0.0.0:8181"/' -e 's/allow_remote: .*/allow_remote: true/' ${CONFIG}`;
      await host.exec(`${all} && systemctl reload postern-auditd`);
      await host.waitFor('ss -Hltn sport = :8181', (out) => out.includes('0.0.0.0:8181'));
      expect(await host.attack({ port: 8181, from: guesser })).toBe('open');
      // A client on this host and a forged address are both never banned.
      const local = `import urllib.request as u, urllib.error as e
for n in range(8):
    r = u.Request('http://127.0.0.1:8181/api/audit-log', headers={'authorization': 'Bearer x', 'x-forwarded-for': '10.77.0.62'})
    try: u.urlopen(r)
    except e.HTTPError as error: print(error.code)`;
      expect((await host.exec(['python3', '-c', local])).stdout).toBe(
        `${'401\n'.repeat(5)}${'429\n'.repeat(3)}`,
      );
      const guess = `const guess = () => new Promise((done) => require('node:http').get({ host: '10.77.0.2', port: 8181,
          localAddress: '${guesser}', path: '/api/audit-log', agent: false, headers: { authorization: 'Bearer pat_000000000000_x' } },
          (answer) => { answer.resume(); answer.on('end', () => done(answer.statusCode)); }).on('error', (error) => done(error.code)));
        (async () => { for (let n = 0; n < 5; n++) console.log(await guess()); })();`;
      const guessed = await host.outside('client', [process.execPath, '-e', guess]);
      expect(guessed.stdout).toBe('401\n'.repeat(5));
      const banned = await host.waitFor('fail2ban-client get posternproxy banip', (out) =>
        out.includes(guesser),
      );
      expect(await host.attack({ port: 8181, from: guesser })).toBe('refused');
      expect(banned).not.toMatch(/127\.0\.0\.1|10\.77\.0\.62/);
      expect((await host.exec(['python3', '-c', local])).stdout).toBe('429\n'.repeat(8));
      await host.exec(`fail2ban-client set posternproxy unbanip ${guesser}`);
    });

    it('install.sh restores the jail if a test fails, and fail2ban keeps running with its bans', async () => {
      const jail = (await host.exec(['cat', JAIL])).stdout;
      const pid = await host.exec('systemctl show -p MainPID fail2ban');
      await host.write(
        '/etc/fail2ban/filter.d/posternproxy.local',
        '[Definition]\nfailregex = ^(broken <ADDR>\n',
      );
      await host.exec(`sed -i 's/ports: .*/ports: [81, 9999]/' ${CONFIG}`);
      const failed = await install(host, '--reconfigure', { from: '/opt/postern-auditd', check: false });
      expect(failed.code).not.toBe(0);
      expect(failed.said).toContain("fail2ban's filter posternproxy does not match");
      expect(failed.said).toContain('restored   /etc/fail2ban');
      expect((await host.exec(['cat', JAIL])).stdout).toBe(jail);
      await expectJails(host, ['posternproxy', 'sshd']);
      expect((await host.exec('systemctl show -p MainPID fail2ban')).stdout).toBe(pid.stdout);
      expect(await host.attack({ port: 81, from: '10.77.0.70' })).not.toBe('open');
      await host.exec('rm /etc/fail2ban/filter.d/posternproxy.local');
      await install(host, '--reconfigure', { from: '/opt/postern-auditd' });
    });

    it('--uninstall keeps data, logs and configuration, and fail2ban runs without the jail', async () => {
      await install(host, '--uninstall', { from: '/opt/postern-auditd' });
      await expectJails(host, ['sshd']);
      expect((await host.exec('iptables-save; ip6tables-save')).stdout).not.toContain('posternproxy');
      expect(await host.attack({ port: 81, from: '10.77.0.70' })).toBe('open');
      const name = (line: string) => line.split(' ')[0] ?? '';
      const there = new Set(before.map(name));
      const left = (await snapshot(host, '/')).map(name).filter((path) => !there.has(path));
      const kept = /^\/(etc|var\/lib)\/postern-auditd(\/|$)/;
      expect(left.filter((path) => !kept.test(path) && !path.startsWith(DATABASE))).toEqual([]);
      expect(left).toContain(CONFIG);
      expect((await host.exec('ls /var/log/posternproxy')).stdout).toBe('audit\nauth\nbans\n');
    });

    it('--purge leaves nothing', async () => {
      await install(host);
      await install(host, '--purge', { from: '/opt/postern-auditd' });
      const after = await snapshot(host, '/');
      const files = (lines: string[]) =>
        lines.filter(
          (line) =>
            !/^\/(etc\/(passwd|group|g?shadow|subuid|subgid)|var\/lib\/posternproxy)/.test(line) &&
            / [fl] /.test(line),
        );
      expect(files(after)).toEqual(files(before));
      const gone = await host.exec(
        'getent passwd postern-auditd; ls -d /var/log/posternproxy /etc/fail2ban/*/postern*',
        { check: false },
      );
      expect(gone.stdout).toBe('');
      await expectJails(host, ['sshd']);
    });
  });
}
