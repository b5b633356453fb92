import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SigningKey, whyNoDebian } from '../support/debian.js';

const root = resolve(import.meta.dirname, '../..');
const reason = whyNoDebian();
if (reason !== null && process.env.CI) throw new Error(reason);
if (reason !== null) console.warn(`SKIPPED the apt repository: ${reason}`);

/** A package without files. Test hosts install the real one (test/host/deb.test.ts). */
function smallDeb(directory: string, text: string): string {
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  const fields = `Package: small\nVersion: 1.0\nArchitecture: amd64\nMaintainer: A test <test@posternproxy.example>\nDescription: ${text}\n`;
  writeFileSync(join(tree, 'DEBIAN/control'), fields);
  const file = join(directory, 'small_1.0_amd64.deb');
  execFileSync('dpkg-deb', ['--root-owner-group', '--build', tree, file]);
  return file;
}

describe.skipIf(reason !== null)('scripts/apt-repo.sh', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pa-apt-'));
  const repository = join(scratch, 'repository');
  const keys: SigningKey[] = [];
  const newKey = (expires: string) => {
    const key = new SigningKey(expires);
    keys.push(key);
    return key;
  };
  const pool = () => readdirSync(join(repository, 'pool')).sort();
  let key: SigningKey;
  let small: string;
  beforeAll(() => {
    key = newKey('3y');
    small = smallDeb(scratch, 'first');
    const { status, stderr } = key.publish(repository, [small]);
    expect(status, stderr).toBe(0);
  });
  afterAll(() => {
    for (const each of keys) each.remove();
    rmSync(scratch, { recursive: true, force: true });
  });

  /** apt with directories of its own, which knows nothing but this repository and the key. */
  function aptUpdate(keyring: string) {
    const apt = mkdtempSync(join(scratch, 'apt-'));
    for (const name of ['lists/partial', 'cache/archives/partial', 'sources'])
      mkdirSync(join(apt, name), { recursive: true });
    cpSync(repository, join(apt, 'repository'), { recursive: true });
    const source = `Types: deb\nURIs: file:${apt}/repository\nSuites: stable\nComponents: main\nArchitectures: amd64\nSigned-By: ${keyring}\n`;
    writeFileSync(join(apt, 'sources/postern.sources'), source);
    const options = [
      `Dir::Etc::SourceList=/dev/null`,
      `Dir::Etc::SourceParts=${apt}/sources`,
      `Dir::State::Lists=${apt}/lists`,
      `Dir::Cache=${apt}/cache`,
      `APT::Sandbox::User=root`,
      'Acquire::Languages=none',
    ].flatMap((option) => ['-o', option]);
    execFileSync('chmod', ['-R', 'a+rX', scratch]);
    try {
      execFileSync('apt-get', [...options, 'update', '--error-on=any'], {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
      });
    } catch (error) {
      return { policy: '', said: String((error as { stderr: unknown }).stderr) };
    }
    return { policy: execFileSync('apt-cache', [...options, 'policy'], { encoding: 'utf8' }), said: '' };
  }

  it('signs InRelease so that apt takes it, with the origin that unattended-upgrades compares', () => {
    const { policy, said } = aptUpdate(join(repository, 'postern-archive-keyring.pgp'));
    expect(said).toBe('');
    expect(policy).toContain('release o=Postern,a=stable,n=stable,l=postern-auditd,c=main,b=amd64');
  });

  it('is refused by apt with another key, and after a change of an index', () => {
    const other = join(scratch, 'other.pgp');
    writeFileSync(other, execFileSync('gpg', ['--homedir', newKey('3y').home, '--export']));
    expect(aptUpdate(other).said).toContain('NO_PUBKEY');
    const index = join(repository, 'dists/stable/main/binary-amd64/Packages');
    const packages = readFileSync(index, 'utf8');
    for (const name of ['Packages', 'Packages.xz', 'Packages.gz']) rmSync(join(index, '..', name));
    rmSync(join(index, '../by-hash'), { recursive: true });
    writeFileSync(index, packages.replace('first', 'forged'));
    expect(aptUpdate(join(repository, 'postern-archive-keyring.pgp')).said).toMatch(
      /Hash Sum mismatch|unexpected size/,
    );
    expect(key.publish(repository, []).status).toBe(0);
    expect(readFileSync(index, 'utf8')).toBe(packages);
  });

  it('has the key in a package, which a renewed key makes newer', () => {
    const before = pool();
    expect(before).toEqual([
      expect.stringMatching(/^postern-archive-keyring_[\d.]+_all\.deb$/),
      'small_1.0_amd64.deb',
    ]);
    key.publish(repository, []);
    expect(pool()).toEqual(before);
    // As if a minute had passed: the version is the minute of the newest self-signature.
    const soon = String(Math.floor(Date.now() / 1_000) + 120);
    key.gpg('--faked-system-time', soon, '--passphrase', '', '--quick-set-expire', key.fingerprint, '4y');
    const { status, stderr } = key.publish(repository, []);
    expect(status, stderr).toBe(0);
    const versions = pool().flatMap((name) => /keyring_([\d.]+)_all/.exec(name)?.[1] ?? []);
    expect(versions).toHaveLength(2);
    execFileSync('dpkg', ['--compare-versions', versions[1] ?? '', 'gt', versions[0] ?? '']);
    expect(aptUpdate(join(repository, 'postern-archive-keyring.pgp')).said).toBe('');
  });

  it('keeps the indices that an older InRelease names', () => {
    const hashes = join(repository, 'dists/stable/main/binary-amd64/by-hash/SHA256');
    expect(readdirSync(hashes).length).toBeGreaterThan(3);
  });

  it('never replaces a published package by other bytes', () => {
    const { status, stderr } = key.publish(repository, [smallDeb(join(scratch, 'second'), 'second')]);
    expect(status).toBe(1);
    expect(stderr).toContain('build it with another DEB_REVISION');
  });

  it('refuses a key that expires before all hosts have its renewal', () => {
    const soon = newKey('100d').publish(join(scratch, 'soon'), [small]);
    expect(soon.status).toBe(1);
    expect(soon.stderr).toMatch(/expires in (99|100) days.*gpg --quick-set-expire/);
    expect(existsSync(join(scratch, 'soon'))).toBe(false);
    expect(newKey('never').publish(join(scratch, 'never'), [small]).status).toBe(0);
    const nobody = key.publish(repository, [], { APT_KEY: 'nobody@posternproxy.example' });
    expect([nobody.status, nobody.stderr]).toEqual([1, expect.stringContaining('gpg has no key for')]);
  });

  it('the key of the project, once it is in packaging/keyring, is renewed half a year before it expires', () => {
    const check = (file: string) =>
      spawnSync(join(root, 'scripts/apt-repo.sh'), ['--check-key', file], { encoding: 'utf8' });
    const of = (expires: string) => {
      const file = join(scratch, `${expires}.pgp`);
      writeFileSync(file, execFileSync('gpg', ['--homedir', newKey(expires).home, '--export']));
      return check(file);
    };
    expect(of('3y').status).toBe(0);
    expect(of('100d').stderr).toContain('hosts that get its renewal too late');
    for (const name of readdirSync(join(root, 'packaging/keyring')).filter((each) => each.endsWith('.pgp'))) {
      const { status, stderr } = check(join(root, 'packaging/keyring', name));
      expect([name, status, stderr]).toEqual([name, 0, '']);
    }
  });
});
