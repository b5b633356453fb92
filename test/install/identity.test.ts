import { describe, expect, it } from 'vitest';
import { bash } from './bash.js';

interface Found {
  /** `uid user gid group mode` */
  readonly database: string;
  readonly directory: string;
  readonly closed?: string;
  readonly setfacl?: boolean;
  readonly postern?: string;
}

function decide({ database, directory, closed = '', setfacl = false, postern = '' }: Found) {
  const printed = bash(
    'decide_identity "$@"; printf "%s|%s|%s|%s" "$CASE" "$RUN_USER" "$RUN_GROUP" "$RUN_GROUPS"',
    { args: [database, directory, closed, setfacl ? 'yes' : 'no', postern] },
  );
  const [why, user, group, groups] = printed.split('|');
  return { why, user, group, groups };
}

const own = { user: 'postern-auditd', group: 'postern-auditd', groups: '' };
const P = '990 posternproxy 991 posternproxy';
const ROOT = '0 root 0 root';

describe('the identity by owner and mode of the database', () => {
  it.each<[string, Found, ReturnType<typeof decide>]>([
    [
      'a group may read: own user in that group',
      { database: `${P} 640`, directory: `${P} 750` },
      { ...own, why: 'group', groups: 'posternproxy' },
    ],
    [
      'root owns it, another group may read',
      { database: '0 root 991 posternproxy 640', directory: '0 root 991 posternproxy 750' },
      { ...own, why: 'group', groups: 'posternproxy' },
    ],
    [
      'a group may read, the directory is open to all',
      { database: `${P} 640`, directory: `${ROOT} 755` },
      { ...own, why: 'group', groups: 'posternproxy' },
    ],
    [
      'the set-group-id bit is no permission',
      { database: `${P} 640`, directory: `${P} 2750` },
      { ...own, why: 'group', groups: 'posternproxy' },
    ],
    [
      'everybody may read: own user',
      { database: `${ROOT} 644`, directory: `${ROOT} 755` },
      { ...own, why: 'world' },
    ],
    [
      'only its owner may read: the owner',
      { database: `${P} 600`, directory: `${P} 700` },
      { why: 'owner', user: 'posternproxy', group: 'posternproxy', groups: '' },
    ],
    [
      'the group may read the file, but not list the directory (fs.watch needs r): the owner',
      { database: `${P} 640`, directory: `${P} 710` },
      { why: 'owner', user: 'posternproxy', group: 'posternproxy', groups: '' },
    ],
    [
      'only root may read, setfacl is there: own user by access list',
      { database: `${ROOT} 600`, directory: `${ROOT} 700`, setfacl: true },
      { ...own, why: 'acl' },
    ],
    [
      'root and its group may read: the group root is given to nobody',
      { database: `${ROOT} 640`, directory: `${ROOT} 750`, setfacl: true },
      { ...own, why: 'acl' },
    ],
    [
      'only root may read, no setfacl: root',
      { database: `${ROOT} 600`, directory: `${ROOT} 755` },
      { why: 'root', user: 'root', group: 'root', groups: '' },
    ],
    ['no database, no Postern: own user', { database: '', directory: '' }, { ...own, why: 'waiting' }],
    [
      'no database yet, but a group of Postern',
      { database: '', directory: '', postern: 'posternproxy' },
      { ...own, why: 'waiting', groups: 'posternproxy' },
    ],
  ])('%s', (_, found, expected) => {
    expect(decide(found)).toEqual(expected);
  });
});

describe('the identity in cases that the table does not list', () => {
  it('ignores the group if a directory above is closed', () => {
    const found = { database: '0 root 991 posternproxy 640', directory: '0 root 991 posternproxy 750' };
    const closed = '/var/lib/docker';
    expect(decide({ ...found, closed, setfacl: true })).toMatchObject({ why: 'acl' });
    expect(decide({ ...found, closed })).toMatchObject({ why: 'root' });
  });

  it.each(['docker', 'sudo', 'disk', 'shadow'])(
    'membership in %s is as good as root, and never given',
    (group) => {
      const found = { database: `0 root 998 ${group} 640`, directory: `0 root 998 ${group} 750` };
      expect(decide({ ...found, setfacl: true })).toMatchObject({ why: 'acl', groups: '' });
    },
  );

  it('uses an access list for a database whose owner has no name here', () => {
    const found = { database: '1000 UNKNOWN 1000 UNKNOWN 640', directory: '1000 UNKNOWN 1000 UNKNOWN 750' };
    expect(decide({ ...found, setfacl: true })).toMatchObject({ ...own, why: 'acl' });
    expect(decide(found)).toMatchObject({ ...own, why: 'none' });
  });

  it("an unknown group of a known owner: systemd takes the user's own", () => {
    const found = { database: '990 posternproxy 4242 UNKNOWN 600', directory: `${P} 700` };
    expect(decide(found)).toMatchObject({ why: 'owner', user: 'posternproxy', group: '' });
  });
});

function places(user: string, database: string, ...more: string[]): string {
  const [
    state = '/var/lib/postern-auditd',
    control = '/run/postern-auditd',
    bans = '/var/log/posternproxy/bans',
    ...logs
  ] = more;
  const directories = logs.length > 0 ? logs : ['/var/log/posternproxy/audit', '/var/log/posternproxy/auth'];
  return bash('RUN_USER=$1 RUN_GROUP=$1; shift; render_places "$@"', {
    args: [user, database, state, control, bans, ...directories],
  });
}

describe('places.conf', () => {
  it('is empty if the shipped unit fits', () => {
    expect(places('postern-auditd', '/var/lib/posternproxy')).toBe('');
  });

  it('creates the log directories for another user', () => {
    expect(places('posternproxy', '/var/lib/posternproxy').split('\n').slice(2, -1)).toEqual([
      'ExecStartPre=',
      'ExecStartPre=+/usr/bin/install -d -m 2750 -o posternproxy -g adm /var/log/posternproxy/audit',
      'ExecStartPre=+/usr/bin/install -d -m 2750 -o posternproxy -g adm /var/log/posternproxy/auth',
      'ExecStartPre=+/usr/bin/install -d -m 0755 -o root -g root /var/log/posternproxy/bans',
    ]);
  });

  it('shows a database in a home directory, and hides the rest of the homes', () => {
    expect(places('postern-auditd', '/home/ada/postern data')).toContain(
      'ProtectHome=tmpfs\nBindReadOnlyPaths="-/home/ada/postern data"\n',
    );
  });

  it('keeps a database elsewhere read-only, also if the unit is relaxed', () => {
    expect(places('postern-auditd', '/srv/100%')).toContain('ReadOnlyPaths=-/srv/100%%\n');
  });

  it('makes only the configured directories writable', () => {
    const text = places(
      'postern-auditd',
      '/var/lib/posternproxy',
      '/srv/state',
      '/run/postern-auditd',
      '/srv/bans',
      '/srv/logs',
      '/var/log/posternproxy/auth',
    );
    expect(text).toContain('ReadWritePaths=-/srv/logs\n');
    expect(text).toContain('ReadWritePaths=-/srv/state\n');
    expect(text).toContain('install -d -m 0755 -o root -g root /srv/bans\n');
    expect(text).not.toMatch(/ReadWritePaths=.*(auth|bans)/);
  });
});
