import { describe, expect, it } from 'vitest';
import { bash } from './bash.js';

describe('who removes rows', () => {
  const render = (owner: string, directory: string) =>
    bash('render_purge "$@"', { args: [`${directory}/posternproxy.db`, owner, directory] })
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
      'is root where root owns it',
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
});

describe('where archives are', () => {
  const render = (archive: string, state = '/var/lib/postern-auditd') =>
    bash('RUN_USER=u RUN_GROUP=g; render_archive "$@"', { args: [archive, state] });

  it.each([
    ['/var/lib/postern-auditd/archive', '/var/lib/postern-auditd'],
    ['/srv/state/archive', '/srv/state'],
    ['', '/var/lib/postern-auditd'],
  ])('nothing has to be said of %s', (archive, state) => {
    expect(render(archive, state)).toBe('');
  });

  it('elsewhere the directory is made, and may be written', () => {
    expect(render('/srv/audit').split('\n').slice(1, -1)).toEqual([
      '[Service]',
      'ExecStartPre=+/usr/bin/install -d -m 0750 -o u -g g /srv/audit',
      'ReadWritePaths=-/srv/audit',
    ]);
  });
});
