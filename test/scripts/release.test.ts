import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const COMPOSE = 'packaging/container/compose.yaml';
const clone = mkdtempSync(join(tmpdir(), 'postern-release-'));

/** `npm run check` is left out: it takes a minute, and CI runs it anyway. */
const release = (version: string, ...options: string[]) =>
  spawnSync('scripts/release.sh', [version, '--no-check', ...options], { cwd: clone, encoding: 'utf8' });

function git(...args: string[]): string {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.net'];
  const { status, stdout, stderr } = spawnSync('git', [...identity, ...args], {
    cwd: clone,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

const read = (name: string) => readFileSync(join(clone, name), 'utf8');

describe('scripts/release.sh', () => {
  beforeAll(() => {
    for (const name of ['scripts/release.sh', 'package.json', 'package-lock.json', COMPOSE])
      cpSync(join(root, name), join(clone, name));
    writeFileSync(
      join(clone, 'CHANGELOG.md'),
      '# Changelog\n\n## [Unreleased]\n\n### Added\n- A key.\n\n## [0.0.1] - 2026-01-01\n',
    );
    git('init', '-q', '-b', 'main');
    git('config', 'user.name', 'Test');
    git('config', 'user.email', 'test@example.net');
    git('add', '-A');
    git('commit', '-qm', 'Begin');
  });
  afterAll(() => rmSync(clone, { recursive: true }));

  it('refuses what is not a version, is below the current one, or has changes beside it, and leaves all as it was', () => {
    expect(release('next')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('MAJOR.MINOR.PATCH'),
    });
    expect(release('0.0.9').stderr).toContain('0.0.9 is below the current version');
    writeFileSync(join(clone, 'stray'), '');
    expect(release('9.8.7').stderr).toContain('there are uncommitted changes');
    rmSync(join(clone, 'stray'));
    expect(git('status', '--porcelain')).toBe('');
    expect(git('tag')).toBe('');
  });

  it('sets the version, heads the changelog with it and the date, commits and tags', () => {
    const made = release('9.8.7');
    expect(made.stderr).toBe('');
    expect(made.stdout).toContain('v9.8.7 is committed and tagged');
    expect(JSON.parse(read('package.json'))).toMatchObject({ version: '9.8.7' });
    expect(JSON.parse(read('package-lock.json'))).toMatchObject({ version: '9.8.7' });
    expect(read(COMPOSE)).toContain('image: posternproxy/postern-auditd:9.8.7\n');
    expect(read('CHANGELOG.md')).toMatch(
      /## \[Unreleased\]\n\n## \[9\.8\.7\] - \d{4}-\d\d-\d\d\n\n### Added\n- A key\.\n\n## \[0\.0\.1\]/,
    );
    expect(git('status', '--porcelain')).toBe('');
    expect(git('log', '-1', '--format=%s')).toBe('Release 9.8.7');
    expect(git('describe', '--exact-match')).toBe('v9.8.7');
  });

  it('refuses a version that is tagged, and one of which the changelog says nothing', () => {
    expect(release('9.8.7').stderr).toContain('the tag v9.8.7 exists already');
    expect(release('9.9.0').stderr).toContain('nothing under [Unreleased]');
    expect(JSON.parse(read('package.json'))).toMatchObject({ version: '9.8.7' });
  });
});
