import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import {
  expectJails,
  install,
  recordFailures,
  release,
  snapshot,
  startPostern,
  unpack,
  waitForFail2ban,
} from './release.js';

const OTHER = '/srv/other';
const FIFO = '/run/other/record';
const INSTALLED = { from: '/opt/postern-auditd' };

/** A second Postern, of another user and on another port. */
async function startOther(host: Host): Promise<void> {
  await host.put(join(import.meta.dirname, 'postern.py'), '/usr/local/lib/postern.py');
  await host.exec(
    `groupadd --system other; useradd --system --gid other other
     install -d -o other -g other -m 750 ${OTHER}
     systemd-run --quiet --collect --unit=other -p User=other -p Group=other -p UMask=0027 -p RuntimeDirectory=other \\
       python3 /usr/local/lib/postern.py ${OTHER}/posternproxy.db ${FIFO} 8081`,
  );
  await host.waitFor(`test -p ${FIFO} && echo there`, (out) => out.includes('there'));
}

const recordOther = (host: Host, ip: string) =>
  host.exec(`cat >${FIFO}`, { input: `${JSON.stringify({ ip, count: 5 })}\n` });

describeHost('two databases on one host', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'instances',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await host.exec('touch /var/log/auth.log; systemctl enable --now fail2ban');
    await waitForFail2ban(host);
    await unpack(host);
    await startPostern(host);
    await startOther(host);
    await install(host);
  });
  afterAll(() => host.stop());

  it('install.sh --instance needs a database that no other daemon follows', async () => {
    const before = await snapshot(host, '/etc');
    const none = await install(host, '--instance b', { ...INSTALLED, check: false });
    expect([none.code, none.said]).toEqual([1, expect.stringContaining('add --database PATH')]);
    const same = await install(host, '--instance b --database /var/lib/posternproxy', {
      ...INSTALLED,
      check: false,
    });
    expect([same.code, same.said]).toEqual([1, expect.stringContaining('is followed by another daemon')]);
    const name = await install(host, '--instance B_', { ...INSTALLED, check: false });
    expect([name.code, name.said]).toEqual([1, expect.stringContaining('lower-case letters')]);
    expect(await snapshot(host, '/etc')).toEqual(before);
  });

  it('each daemon sees its own rows only, and bans in its own jail', async () => {
    const { said } = await install(host, `--instance b --database ${OTHER}`, INSTALLED);
    expect(said).toContain('load the jail postern-b into fail2ban');
    const active = await host.exec('systemctl is-active postern-auditd postern-auditd@b');
    expect(active.stdout).toBe('active\nactive\n');
    await expectJails(host, ['postern-b', 'posternproxy', 'sshd']);

    await recordFailures(host, '10.77.0.81');
    await recordOther(host, '10.77.0.82');
    await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes('10.77.0.81'));
    await host.waitFor('fail2ban-client get postern-b banip', (out) => out.includes('10.77.0.82'));
    expect((await host.exec('fail2ban-client get posternproxy banip')).stdout).not.toContain('10.77.0.82');
    expect((await host.exec('fail2ban-client get postern-b banip')).stdout).not.toContain('10.77.0.81');
    const query = async (options: string) =>
      (await host.exec(`postern-auditd query ${options} --source postern --json`)).stdout;
    expect(await query('')).toContain('10.77.0.81');
    expect(await query('')).not.toContain('10.77.0.82');
    expect(await query('--instance b')).toContain('10.77.0.82');
    expect(await query('--instance b')).not.toContain('10.77.0.81');
    // The bans are recorded, each by the daemon of its jail.
    await host.waitFor('cat /var/log/posternproxy@b/audit/current.log', (out) => out.includes('ban.'));
    expect((await host.exec('cat /var/log/posternproxy/audit/current.log')).stdout).not.toContain(
      '10.77.0.82',
    );
  });

  it('commands know the instance, and status of the first names it', async () => {
    expect((await host.exec('postern-auditd status', { check: false })).stdout).toContain(
      '\nother instances: b (running)\n',
    );
    const json = JSON.parse((await host.exec('postern-auditd status --json', { check: false })).stdout) as {
      instances: unknown;
    };
    expect(json.instances).toEqual([{ name: 'b', state: 'running' }]);
    expect((await host.exec('postern-auditd status --instance b', { check: false })).stdout).toContain(
      'configuration /etc/postern-auditd@b/config.yml',
    );
    expect((await host.exec('postern-auditd check --instance b', { check: false })).stdout).toMatch(
      /the daemon can list and lift bans[\s\S]*All is well\.\n$/,
    );
    const none = await host.exec('postern-auditd status --instance c', { check: false });
    expect([none.code, none.stderr]).toEqual([78, expect.stringContaining('Set up here: b')]);
    const offered = await host.exec([
      'bash',
      '-c',
      '. /usr/local/share/bash-completion/completions/postern-auditd; COMP_WORDS=(postern-auditd status --instance ""); COMP_CWORD=3; _postern_auditd; echo "$COMPREPLY"',
    ]);
    expect(offered.stdout).toBe('b\n');
  });

  it('the helper of an instance lists and lifts bans of its own jail', async () => {
    const ask = (socket: string, request: string) =>
      host.exec(
        [
          'python3',
          '-c',
          'import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode()); s.shutdown(1)\nwhile (d:=s.recv(4096)): sys.stdout.write(d.decode())',
          socket,
          request,
        ],
        { check: false },
      );
    const b = '/run/postern-auditd-fail2ban-b.sock';
    expect((await ask(b, 'status')).stdout).toMatch(/10\.77\.0\.82/);
    expect((await ask(b, 'status')).stdout).not.toMatch(/10\.77\.0\.81/);
    expect((await ask(b, 'unban 10.77.0.81')).stdout).toBe('error not banned\n');
    expect((await ask(b, 'unban 10.77.0.82')).stdout).toBe('ok\n');
    await host.waitFor('fail2ban-client get postern-b banip', (out) => !out.includes('10.77.0.82'));
  });

  it('is confined like the first', async () => {
    const level = async (unit: string) =>
      /: ([\d.]+)/.exec(
        (await host.exec(`systemd-analyze security --no-pager ${unit} | tail -n 1`)).stdout,
      )?.[1];
    expect(await level('postern-auditd@b')).toBe(await level('postern-auditd'));
    expect(await level('postern-auditd-purge@b')).toBe(await level('postern-auditd-purge'));
    const pid = (await host.exec('systemctl show -P MainPID postern-auditd@b')).stdout.trim();
    const seen = await host.exec(`nsenter -t ${pid} -m ls /var/lib/postern-auditd`, { check: false });
    expect(seen.stdout).toBe('');
  });

  it('an upgrade restarts all daemons, and is refused for the configuration of any', async () => {
    const pids = async () =>
      (await host.exec('systemctl show -P MainPID postern-auditd postern-auditd@b')).stdout;
    await host.exec(
      `cp -a /root/release /root/newer; echo '# newer' >>/root/newer/config/config.yml
       cd /root/newer && find . -type f ! -path ./MANIFEST -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >MANIFEST
       cp /etc/postern-auditd@b/config.yml /root/b.yml; echo 'no_such_key: 1' >>/etc/postern-auditd@b/config.yml`,
    );
    const before = await pids();
    const refused = await install(host, '', { from: '/root/newer', check: false });
    expect([refused.code, refused.said]).toEqual([
      1,
      expect.stringContaining('correct /etc/postern-auditd@b/config.yml'),
    ]);
    expect(await pids()).toBe(before);
    await host.exec('cp -a /root/b.yml /etc/postern-auditd@b/config.yml');
    await install(host, '', { from: '/root/newer' });
    const numbers = (text: string) => text.split('\n').filter((pid) => /^[1-9]/.test(pid));
    const after = numbers(await pids());
    expect(after).toHaveLength(2);
    for (const pid of numbers(before)) expect(after).not.toContain(pid);
    await expectJails(host, ['postern-b', 'posternproxy', 'sshd']);
  });

  it('the removal of one leaves the other', async () => {
    await recordFailures(host, '10.77.0.83');
    await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes('10.77.0.83'));
    await install(host, '--uninstall --instance b', INSTALLED);
    await expectJails(host, ['posternproxy', 'sshd']);
    expect((await host.exec('fail2ban-client get posternproxy banip')).stdout).toContain('10.77.0.83');
    expect((await host.exec('systemctl is-active postern-auditd')).stdout).toBe('active\n');
    const left = await host.exec(
      'systemctl is-active postern-auditd@b; find /etc /run -name "*postern*@b*" -o -name "*fail2ban-b*" -o -name "*postern-b*"',
      { check: false },
    );
    expect(left.stdout).toBe('inactive\n/etc/postern-auditd@b\n');
    await recordFailures(host, '10.77.0.84');
    await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.includes('10.77.0.84'));
  });

  it('setup --instance adds it again with its data, and --purge removes all', async () => {
    const { stdout } = await host.exec('postern-auditd setup --instance b 2>&1');
    expect(stdout).toContain('systemctl enable --now postern-auditd@b.service starts it');
    await expectJails(host, ['postern-b', 'posternproxy', 'sshd']);
    await host.exec('systemctl enable --now postern-auditd@b');
    await recordOther(host, '10.77.0.85');
    await host.waitFor('fail2ban-client get postern-b banip', (out) => out.includes('10.77.0.85'));
    await install(host, '--purge', INSTALLED);
    await expectJails(host, ['sshd']);
    const left = await host.exec(
      'find /etc /run /var/lib /var/log /opt -name "*postern-*" ! -name "*install.lock" -o -name "posternproxy@*"',
      {
        check: false,
      },
    );
    expect(left.stdout).toBe('');
  });
});
