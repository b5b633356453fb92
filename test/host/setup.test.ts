import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import {
  DATABASE,
  expectJails,
  recordFailures,
  release,
  snapshot,
  startPostern,
  UNPACKED,
  unpack,
  waitForFail2ban,
} from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const HOME = '/usr/lib/postern-auditd';
const DROP_INS = '/etc/systemd/system/postern-auditd.service.d';
const ARCHIVE = '/var/lib/postern-auditd/archive/2026-01.ndjson.gz';

/** Places program and units as a package does, which runs the setup afterwards. */
async function place(host: Host): Promise<void> {
  await unpack(host);
  await host.exec(
    `cp -a ${UNPACKED} ${HOME} && ln -s ${HOME}/bin/postern-auditd /usr/bin/postern-auditd
     for unit in ${HOME}/systemd/*; do sed 's,/opt/postern-auditd,${HOME},g' "$unit" >"/usr/lib/systemd/system/\${unit##*/}"; done
     systemctl daemon-reload`,
  );
}

describeHost('postern-auditd setup, with program and units of a package', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'trixie',
      name: 'setup',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await host.exec('touch /var/log/auth.log; systemctl enable --now fail2ban');
    await waitForFail2ban(host);
    await place(host);
  });
  afterAll(() => host.stop());

  async function setup(options = '', env = ''): Promise<{ code: number; said: string }> {
    const ran = await host.exec(`env ${env} postern-auditd setup ${options} 2>&1`, { check: false });
    return { code: ran.code, said: ran.stdout };
  }

  it('--prepare writes configuration and identity before there is a database, and no jail', async () => {
    const before = await snapshot(host, '/');
    expect(await setup('--dry-run')).toMatchObject({ code: 0 });
    expect(await snapshot(host, '/')).toEqual(before);

    const { code, said } = await setup('--prepare', "SSH_CONNECTION='10.77.0.250 50000 10.77.0.2 22'");
    expect([code, said]).toEqual([0, expect.stringContaining("Postern's database does not exist yet")]);
    expect((await host.exec(`cat ${CONFIG} ${DROP_INS}/identity.conf`)).stdout).toMatch(
      /never_ban: \[.*10\.77\.0\.250\][\s\S]*Written by postern-auditd setup[\s\S]*User=postern-auditd/,
    );
    await expectJails(host, ['sshd']);
    const units = await host.exec('systemctl is-enabled postern-auditd; systemctl is-active postern-auditd', {
      check: false,
    });
    expect(units.stdout).toBe('disabled\ninactive\n');

    // A later run takes no address of a session, and keeps what the administrator wrote.
    await host.exec(`echo '# ours' >>${CONFIG}; cp ${CONFIG} /root/mine.yml`);
    expect((await setup('--prepare', "SSH_CONNECTION='10.77.0.251 1 10.77.0.2 22'")).said).toContain(
      'Everything is up to date',
    );
    expect((await host.exec(`cmp ${CONFIG} /root/mine.yml`)).code).toBe(0);
  });

  it('leaves the jail out while the daemon is stopped or systemd is missing, and says so', async () => {
    const stopped = await setup();
    expect(stopped).toMatchObject({ code: 0 });
    expect(stopped.said).toContain('is not running and has not created fail2ban');
    const bare = await host.exec(
      "unshare -m sh -c 'mount -t tmpfs none /run/systemd && postern-auditd setup --json'",
    );
    expect(JSON.parse(bare.stdout)).toMatchObject({
      ok: true,
      changes: [],
      warnings: [expect.stringContaining('systemd is not running here')],
      error: null,
    });
    await expectJails(host, ['sshd']);
  });

  it('makes a jail that bans, and changes nothing at a second run', async () => {
    await startPostern(host);
    await host.exec('systemctl enable --now postern-auditd postern-auditd-fail2ban.socket');
    const { code, said } = await setup();
    expect([code, said]).toEqual([0, expect.stringContaining('load the jail posternproxy into fail2ban')]);
    // The database is there now, so the daemon runs in its group.
    expect(said).toContain('done       restart postern-auditd.service');
    await expectJails(host, ['posternproxy', 'sshd']);
    await recordFailures(host, '10.77.0.71');
    await host.waitFor('fail2ban-client status posternproxy', (out) => out.includes('10.77.0.71'));
    expect(await host.attack({ port: 81, from: '10.77.0.71' })).not.toBe('open');

    const before = await snapshot(host, '/etc /usr');
    const second = await setup('--json');
    expect(JSON.parse(second.said)).toMatchObject({
      ok: true,
      changes: ['reload the configuration of the daemon'],
      warnings: [],
    });
    expect(await snapshot(host, '/etc /usr')).toEqual(before);
    expect((await host.exec('postern-auditd check', { check: false })).stdout).not.toContain('error');
  });

  it('changes nothing if this version rejects the configuration, and ends with 78', async () => {
    await host.exec(`cp ${CONFIG} /root/good.yml; echo 'no_such_key: 1' >>${CONFIG}`);
    const before = await snapshot(host, '/etc');
    const pid = await host.exec('systemctl show -P MainPID postern-auditd');
    for (const options of ['', '--prepare']) {
      const { code, said } = await setup(options);
      expect([code, said]).toEqual([78, expect.stringContaining('this version rejects the configuration')]);
      expect(said).toContain('no_such_key');
    }
    expect(await snapshot(host, '/etc')).toEqual(before);
    expect((await host.exec('systemctl show -P MainPID postern-auditd')).stdout).toBe(pid.stdout);
    await host.exec(`cp -a /root/good.yml ${CONFIG}`);
  });

  it('restores the jail if fail2ban rejects the new one', async () => {
    await host.exec(
      "printf '[Definition]\\nfailregex = ^(broken <ADDR>\\n' >/etc/fail2ban/filter.d/posternproxy.local",
    );
    await host.exec(`sed -i 's/ports: .*/ports: [81, 9999]/' ${CONFIG}`);
    const files = async () => (await snapshot(host, '/etc/fail2ban')).filter((line) => / f /.test(line));
    const before = await files();
    const failed = JSON.parse((await setup('--json')).said) as { exit_code: number; error: unknown };
    expect(failed.exit_code).toBe(1);
    expect(failed.error).toEqual({
      what: expect.stringContaining("fail2ban's filter posternproxy does not match"),
      next: expect.stringContaining('then run postern-auditd setup.'),
    });
    expect(await files()).toEqual(before);
    await host.exec(`rm /etc/fail2ban/filter.d/posternproxy.local; cp -a /root/good.yml ${CONFIG}`);
    expect(await setup()).toMatchObject({ code: 0 });
    await expectJails(host, ['posternproxy', 'sshd']);
  });

  it('--remove lifts bans, removes jail and drop-ins, and keeps other jails, data and configuration', async () => {
    await host.exec(`mkdir -p /var/lib/postern-auditd/archive; echo rows >${ARCHIVE}`);
    await host.exec('fail2ban-client set posternproxy banip 10.77.0.72');
    const { code, said } = await setup('--remove');
    expect([code, said]).toEqual([0, expect.stringContaining('The settings of postern-auditd are removed.')]);
    await expectJails(host, ['sshd']);
    expect((await host.exec('iptables-save')).stdout).not.toContain('10.77.0.72');
    const left = await host.exec(`ls -d ${DROP_INS} /etc/fail2ban/*/postern* ${CONFIG} ${ARCHIVE}`, {
      check: false,
    });
    expect(left.stdout.trim().split('\n')).toEqual([CONFIG, ARCHIVE]);
  });

  it('disabled fail2ban gets the jail, and is not started', async () => {
    await host.exec('systemctl disable --now fail2ban');
    const { code, said } = await setup();
    expect([code, said]).toEqual([0, expect.stringContaining('fail2ban is neither running nor enabled')]);
    expect((await host.exec('systemctl is-active fail2ban', { check: false })).stdout).toBe('inactive\n');
    await host.exec('systemctl start fail2ban');
    await expectJails(host, ['posternproxy', 'sshd']);
  });

  it('--remove --purge wants the daemon stopped, and keeps an archive that holds entries', async () => {
    const running = await setup('--remove --purge');
    expect([running.code, running.said]).toEqual([
      1,
      expect.stringContaining('systemctl stop postern-auditd'),
    ]);
    await expectJails(host, ['posternproxy', 'sshd']);
    await host.exec('systemctl stop postern-auditd');
    const { code, said } = await setup('--remove --purge');
    expect([code, said]).toEqual([0, expect.stringContaining('kept       /var/lib/postern-auditd/archive')]);
    const left = await host.exec(
      'find /etc/postern-auditd /var/lib/postern-auditd /var/log/posternproxy -type f',
      { check: false },
    );
    expect(left.stdout).toBe(`${ARCHIVE}\n`);
    expect((await host.exec(`ls ${DATABASE}`)).code).toBe(0);
  });
});
