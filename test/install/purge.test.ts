import { describe, expect, it } from 'vitest';
import { bash } from './bash.js';

describe('the identity of the purge service', () => {
  const UNITS = [
    '/var/lib/postern-auditd',
    '/run/postern-auditd/control.sock',
    '/var/lib/postern-auditd/archive',
  ];
  const render = (owner: string, directory: string, places = UNITS) =>
    bash('render_purge "$@"', { args: [`${directory}/posternproxy.db`, owner, directory, ...places] })
      .split('\n')
      .slice(3, -1);

  it.each<[string, string, string, string[]]>([
    [
      'is the owner of the database, and may write its directory',
      '990 posternproxy 991 posternproxy',
      '/var/lib/posternproxy',
      ['User=posternproxy', 'Group=posternproxy', 'ReadWritePaths=-/var/lib/posternproxy'],
    ],
    [
      'is root if root owns the database',
      '0 root 0 root',
      '/srv/100%',
      ['User=root', 'Group=root', 'ReadWritePaths=-/srv/100%%'],
    ],
    [
      'has a number where the owner has no name here',
      '1000 UNKNOWN 1000 UNKNOWN',
      '/srv/postern',
      ['User=1000', 'Group=1000', 'ReadWritePaths=-/srv/postern'],
    ],
    [
      'sees one directory of the homes',
      '1000 ada 1000 ada',
      '/home/ada/postern data',
      [
        'User=ada',
        'Group=ada',
        'ProtectHome=tmpfs',
        'BindPaths="-/home/ada/postern data"',
        'ReadWritePaths="-/home/ada/postern data"',
      ],
    ],
  ])('%s', (_, owner, directory, lines) => {
    expect(render(owner, directory)).toEqual(lines);
  });

  it.each<[string, string[], string[]]>([
    ['in a directory of their own', ['/srv/audit'], ['BindReadOnlyPaths=-/srv/audit']],
    [
      'in a home',
      ['/home/ada/old audits'],
      ['BindReadOnlyPaths="-/home/ada/old audits"', 'ProtectHome=tmpfs'],
    ],
    [
      'among the logs, of which the others stay hidden',
      ['/var/log/audit'],
      [
        'BindReadOnlyPaths=-/var/log/audit',
        'InaccessiblePaths=',
        'InaccessiblePaths=-/run/postern-auditd -/etc/shadow -/etc/ssh',
        'TemporaryFileSystem=/var/log:ro',
      ],
    ],
    [
      'in a state that is elsewhere, of which the rest is hidden',
      ['/srv/state/archive', '/srv/state'],
      ['BindReadOnlyPaths=-/srv/state/archive', 'TemporaryFileSystem=/srv/state:ro'],
    ],
    [
      'where they always are, beside a control socket that is not',
      ['/var/lib/postern-auditd/archive', '/var/lib/postern-auditd', '/srv/run/c.sock'],
      ['InaccessiblePaths=-/srv/run/c.sock'],
    ],
  ])('may read archives %s', (_, [archive = '', state, control], lines) => {
    const [usualState, usualControl] = UNITS;
    const places = [state ?? usualState ?? '', control ?? usualControl ?? '', archive];
    const owner = ['User=u', 'Group=g', 'ReadWritePaths=-/srv/postern'];
    expect(new Set(render('990 u 991 g', '/srv/postern', places))).toEqual(new Set([...owner, ...lines]));
  });
});

describe('the drop-in of the daemon for archives', () => {
  const render = (archive: string, state = '/var/lib/postern-auditd') =>
    bash('RUN_USER=u RUN_GROUP=g; render_archive "$@"', { args: [archive, state] });

  it.each([
    ['/var/lib/postern-auditd/archive', '/var/lib/postern-auditd'],
    ['/srv/state/archive', '/srv/state'],
    ['', '/var/lib/postern-auditd'],
  ])('is empty for %s', (archive, state) => {
    expect(render(archive, state)).toBe('');
  });

  it('shows only the archive directory of a home', () => {
    expect(render('/home/ada/audit').split('\n').slice(1, -1)).toEqual([
      '[Service]',
      'ProtectHome=tmpfs',
      'BindPaths=-/home/ada/audit',
      'ExecStartPre=+/usr/bin/install -d -m 0750 -o u -g g /home/ada/audit',
      'ReadWritePaths=-/home/ada/audit',
    ]);
  });

  it('creates an archive directory elsewhere and makes it writable', () => {
    expect(render('/srv/audit').split('\n').slice(1, -1)).toEqual([
      '[Service]',
      'ExecStartPre=+/usr/bin/install -d -m 0750 -o u -g g /srv/audit',
      'ReadWritePaths=-/srv/audit',
    ]);
  });
});
