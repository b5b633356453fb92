import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import {
  expectOnlyDatabase,
  install,
  type PosternOptions,
  recordFailures,
  release,
  startPostern,
  unpack,
} from './release.js';

const DIRECTORY = '/var/lib/posternproxy';

interface Row {
  readonly found: string;
  readonly postern: PosternOptions;
  readonly setfacl: boolean;
  readonly user: string;
  /** Lines of identity.conf after [Service]. */
  readonly dropIn: readonly string[];
}

const own = ['User=postern-auditd', 'Group=postern-auditd'];

// Each row has the owner and mode of one kind of Postern installation (SOURCE.md).
const rows: readonly Row[] = [
  {
    found: 'a group may read it',
    postern: { umask: '0027', directoryMode: '750' },
    setfacl: true,
    user: 'postern-auditd',
    dropIn: [...own, 'SupplementaryGroups=posternproxy'],
  },
  {
    found: 'only its owner may read it',
    postern: { umask: '0077', directoryMode: '700' },
    setfacl: true,
    user: 'posternproxy',
    dropIn: ['User=posternproxy', 'Group=posternproxy'],
  },
  {
    found: 'everybody may read it',
    postern: { user: 'root', umask: '0022', directoryMode: '755' },
    setfacl: true,
    user: 'postern-auditd',
    dropIn: own,
  },
  {
    found: 'only root may read it, and there is setfacl',
    postern: { user: 'root', umask: '0077', directoryMode: '700' },
    setfacl: true,
    user: 'postern-auditd',
    dropIn: own,
  },
  {
    found: 'only root may read it, and there is no setfacl',
    postern: { user: 'root', umask: '0077', directoryMode: '700' },
    setfacl: false,
    user: 'root',
    dropIn: ['User=root', 'Group=root', 'SystemCallFilter=~setpriority'],
  },
  {
    found: 'it lies in a home',
    postern: { umask: '0027', directoryMode: '750', directory: '/home/ada/postern' },
    setfacl: true,
    user: 'postern-auditd',
    dropIn: [...own, 'SupplementaryGroups=posternproxy'],
  },
];

describeHost("the daemon's user by the owner and mode of the database", () => {
  let host: Host;
  let nextAddress = 1;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'install-identity',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await unpack(host);
  });
  afterAll(() => host.stop());

  /** Has Postern record a failure, and waits for it in the daemon's audit log. */
  async function shipped(): Promise<void> {
    const address = `10.77.99.${nextAddress++}`;
    await recordFailures(host, address, 1);
    await host.waitFor('cat /var/log/posternproxy/audit/audit.*.log', (out) =>
      out.includes(`"ip":"${address}"`),
    );
  }

  it('the daemon runs as its own user while no database exists', async () => {
    const { said } = await install(host, '--no-fail2ban');
    expect(said).toContain('Postern: ');
    expect(said).toContain('not there yet');
    expect((await host.exec('systemctl is-active postern-auditd')).stdout.trim()).toBe('active');
    expect(
      (
        await host.exec('ps -o user:32= -p $(systemctl show --value -p MainPID postern-auditd)')
      ).stdout.trim(),
    ).toBe('postern-auditd');
  });

  it.each(rows)(
    '$found: the daemon reads, and Postern can still write, with the daemon running or stopped',
    async (row) => {
      const directory = row.postern.directory ?? DIRECTORY;
      await host.exec(
        `getent passwd posternproxy >/dev/null && install -d -m 0700 -o posternproxy /home/ada; systemctl stop posternproxy 2>/dev/null; rm -rf ${directory}`,
        { check: false },
      );
      await host.exec(
        row.setfacl
          ? 'test -e /usr/bin/setfacl || mv /usr/bin/setfacl.away /usr/bin/setfacl'
          : 'mv /usr/bin/setfacl /usr/bin/setfacl.away',
      );
      await startPostern(host, row.postern);
      await install(host, `--reconfigure --no-fail2ban --database ${directory}/posternproxy.db`, {
        from: '/opt/postern-auditd',
      });

      const dropIn = await host.exec(
        'sed "1,/^.Service/d" /etc/systemd/system/postern-auditd.service.d/identity.conf',
      );
      expect(dropIn.stdout.trim().split('\n')).toEqual(row.dropIn);
      const process = await host.exec(
        'ps -o user:32= -p $(systemctl show --value -p MainPID postern-auditd)',
      );
      expect(process.stdout.trim()).toBe(row.user);
      const status = await host.exec(
        "grep -E '^Cap(Eff|Bnd)' /proc/$(systemctl show --value -p MainPID postern-auditd)/status",
      );
      expect(status.stdout.replace(/\s+/g, ' ').trim()).toBe(
        'CapEff: 0000000000000000 CapBnd: 0000000000000000',
      );

      await shipped();
      // Postern restarts while the daemon keeps reading, and creates its -wal and -shm itself.
      await expectOnlyDatabase(host, row.postern);
      await startPostern(host, { ...row.postern, again: true });
      await shipped();
      await host.exec('systemctl stop postern-auditd');
      const user = row.postern.user ?? 'posternproxy';
      await host.exec(
        `runuser -u ${user} -- sqlite3 ${directory}/posternproxy.db "INSERT INTO audit_log(action) VALUES ('login')"`,
      );
      await host.exec('systemctl stop posternproxy');
      expect((await host.exec(`ls -A ${directory}`)).stdout).toBe('posternproxy.db\n');
      expect((await host.exec(`stat -c %U ${directory} ${directory}/posternproxy.db`)).stdout).toBe(
        `${user}\n${user}\n`,
      );
    },
  );

  it('--uninstall removes the access list', async () => {
    await host.exec(
      'test -e /usr/bin/setfacl || mv /usr/bin/setfacl.away /usr/bin/setfacl; systemctl stop posternproxy; rm -rf /var/lib/posternproxy',
      { check: false },
    );
    await startPostern(host, { user: 'root', umask: '0077', directoryMode: '700' });
    const acls = `getfacl -cpE ${DIRECTORY} ${DIRECTORY}/posternproxy.db; stat -c '%a %n' ${DIRECTORY} ${DIRECTORY}/*`;
    const before = (await host.exec(acls)).stdout;
    await install(host, `--reconfigure --no-fail2ban --database ${DIRECTORY}/posternproxy.db`, {
      from: '/opt/postern-auditd',
    });
    expect((await host.exec(acls)).stdout).toContain('user:postern-auditd:r');
    await install(host, '--uninstall', { from: '/opt/postern-auditd' });
    expect((await host.exec(acls)).stdout).toBe(before);
  });
});
