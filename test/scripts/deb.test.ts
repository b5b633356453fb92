import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDeb, deb, SigningKey, whyNoDebian } from '../support/debian.js';

const root = resolve(import.meta.dirname, '../..');
const reason = whyNoDebian();
if (reason !== null && process.env.CI) throw new Error(reason);
if (reason !== null) console.warn(`SKIPPED the Debian package: ${reason}`);

describe.skipIf(reason !== null)('scripts/deb.sh', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pa-deb-'));
  const files = join(scratch, 'files');
  let built: string;
  let paths: string[];
  const read = (name: string) => readFileSync(join(files, name), 'utf8');
  const control = (field: string) =>
    execFileSync('dpkg-deb', ['-f', built, field], { encoding: 'utf8' }).trim();
  beforeAll(() => {
    built = deb();
    execFileSync('dpkg-deb', ['-R', built, files]);
    paths = execFileSync('find', ['.', '!', '-type', 'd', '-printf', '%P\\n'], {
      cwd: files,
      encoding: 'utf8',
    }).split('\n');
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('builds the same bytes twice', () => {
    const again = buildDeb(join(scratch, 'again'), { TREE: '' });
    expect(spawnSync('cmp', [built, again], { encoding: 'utf8' }).stdout).toBe('');
  });

  it('passes lintian without errors, warnings and unused overrides, and so does the package of the key', () => {
    const key = new SigningKey('3y');
    key.publish(join(scratch, 'repository'), []);
    key.remove();
    const pool = join(scratch, 'repository/pool');
    const [keyring = ''] = readdirSync(pool);
    // The spelling of Node.js' strings gives only hints, and takes as long as all else.
    const args = [
      '--profile',
      'debian',
      '--display-info',
      '--allow-root',
      '-X',
      'binaries/spelling',
      built,
      join(pool, keyring),
    ];
    const { stdout, stderr } = spawnSync('lintian', args, { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toContain('I: postern-auditd: ');
    expect(stdout).not.toMatch(/^[EW]: |unused-override|mismatched-override/m);
  });

  it('has the version, and libraries no newer than those that the tree may need', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(control('Version')).toBe(`${version}-1`);
    expect(control('Architecture')).toBe(process.arch === 'x64' ? 'amd64' : process.arch);
    expect(control('Depends')).toContain('libc6 (>= 2.35)');
    const script = readFileSync(join(root, 'scripts/release-tree.sh'), 'utf8');
    expect(script).toContain('[GLIBC]=2.35 [GLIBCXX]=3.4.30');
  });

  it('has its units, pages and completions where Debian has them, and no path of the tarball', () => {
    const units = paths.filter((path) => path.startsWith('usr/lib/systemd/system/'));
    expect(units).toContain('usr/lib/systemd/system/postern-auditd.service');
    for (const unit of units) expect(read(unit)).not.toContain('/opt');
    expect(paths).toEqual(
      expect.arrayContaining([
        'usr/bin/postern-auditd',
        'usr/lib/postern-auditd/node/bin/node',
        'usr/lib/sysusers.d/postern-auditd.conf',
        'usr/share/bash-completion/completions/postern-auditd',
        'usr/share/doc/postern-auditd/docs/guide/INSTALL.md',
        'usr/share/doc/postern-auditd/licenses/node.gz',
        'usr/share/fish/vendor_completions.d/postern-auditd.fish',
        'usr/share/man/man1/postern-auditd.1.gz',
        'usr/share/man/man5/postern-auditd.yml.5.gz',
        'usr/share/zsh/vendor-completions/_postern-auditd',
      ]),
    );
    expect(paths.filter((path) => /^(opt|usr\/local|lib|var|run)\//.test(path))).toEqual([]);
    // dpkg would ask which version of the configuration to keep.
    expect(read('DEBIAN/conffiles')).toBe('/etc/logrotate.d/postern-auditd\n');
    const program = execFileSync(join(files, 'usr/bin/postern-auditd'), ['--version'], { encoding: 'utf8' });
    expect(program.trim()).toBe(control('Version').replace(/-1$/, ''));
  });

  it('enables units, starts none before postinst has the configuration, and disables none at a removal', () => {
    const postinst = read('DEBIAN/postinst');
    for (const unit of [
      'postern-auditd.service',
      'postern-auditd-logs.service',
      'postern-auditd-purge.socket',
    ])
      expect(postinst).toContain(`deb-systemd-helper enable '${unit}'`);
    expect(postinst).not.toMatch(/deb-systemd-invoke \$_dh_action|'postern-auditd-purge\.service'/);
    expect(postinst.indexOf('setup --prepare')).toBeLessThan(postinst.indexOf('deb-systemd-helper enable'));
    expect(postinst.lastIndexOf('deb-systemd-helper enable')).toBeLessThan(
      postinst.lastIndexOf('\n\tstart\n'),
    );
    expect(read('DEBIAN/prerm')).toContain('deb-systemd-invoke stop');
    expect(read('DEBIAN/prerm')).not.toContain('disable');
  });

  it('holds nothing that only developers or the tarball need', () => {
    const useless =
      /\/(test|src|docs\/internals)\/|\.(ts|map)$|auditd\/install\.sh$|better-sqlite3\/|MANIFEST/;
    expect(paths.filter((path) => useless.test(path))).toEqual([]);
    const node = statSync(join(files, 'usr/lib/postern-auditd/node/bin/node')).size;
    expect(Number(control('Installed-Size')) * 1024 - node).toBeLessThan(12_000_000);
  });
});
