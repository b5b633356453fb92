import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const there = spawnSync('shellcheck', ['--version']).status === 0;
if (!there && process.env.CI) throw new Error('shellcheck is missing: apt-get install shellcheck');
if (!there) console.warn('SKIPPED shellcheck: it is missing (apt-get install shellcheck)');

// install.sh is checked together with the parts in install/ that it reads.
it
  .skipIf(!there)
  .each([
    'install.sh',
    'install/setup.sh',
    'scripts/apt-repo.sh',
    'scripts/deb.sh',
    'scripts/package.sh',
    'scripts/pinned-node.sh',
    'scripts/release-tree.sh',
    'scripts/release.sh',
    'bin/postern-auditd',
    'fail2ban/postern-auditd-fail2ban',
    'fail2ban/postern-auditd-log-files',
    'packaging/debian/postern-auditd.postinst',
    'packaging/debian/postern-auditd.postrm',
    'packaging/debian/postern-auditd.preinst',
    'packaging/debian/postern-auditd.prerm',
    'test/host/host.sh',
  ])('shellcheck finds nothing in %s', (file) => {
  const said = spawnSync('shellcheck', ['-x', '-P', 'SCRIPTDIR:SCRIPTDIR/..', file], { encoding: 'utf8' });
  expect(said.stdout + said.stderr).toBe('');
});
