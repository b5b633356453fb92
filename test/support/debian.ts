import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { built, releaseTree } from './built.js';

const root = resolve(import.meta.dirname, '../..');

/** Why this machine can't build a Debian package, or null. */
export function whyNoDebian(): string | null {
  const programs = ['dh', 'dpkg-buildpackage', 'lintian', 'apt-ftparchive', 'gpg', 'strip', 'npm', 'flock'];
  const missing = programs.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  if (missing.length === 0) return null;
  return `${missing.join(', ')} missing: apt-get install --no-install-recommends $(grep -v '^#' test/scripts/packages.txt)`;
}

/** gzip at its fastest: xz takes two minutes. */
const QUICK = { COMPRESSION: '-Zgzip -z1' };

/** Builds the package of this tree in `directory`; the variables are those of scripts/deb.sh. Returns its path. */
export function buildDeb(directory: string, env: NodeJS.ProcessEnv = {}): string {
  const said = execFileSync('scripts/deb.sh', [directory], {
    cwd: root,
    env: { ...process.env, ...QUICK, TREE: releaseTree(), ...env },
    encoding: 'utf8',
  });
  return said.slice(0, said.indexOf(' ('));
}

/** A package of this tree, built once. */
export function deb(): string {
  const directory = built('deb', 'scripts/deb.sh "$1"', { ...QUICK, TREE: releaseTree() });
  return join(directory, readdirSync(directory).find((name) => name.endsWith('.deb')) ?? '');
}

/** A secret key of its own in a GNUPGHOME of its own. */
export class SigningKey {
  readonly home = mkdtempSync(join(tmpdir(), 'pa-gpg-'));
  readonly fingerprint: string;

  /** @param expires as `gpg --quick-generate-key` takes it: `3y`, `10d`, `never` */
  constructor(expires: string) {
    const user = 'A test <test@posternproxy.example>';
    this.gpg('--passphrase', '', '--quick-generate-key', user, 'ed25519', 'sign', expires);
    this.fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(this.gpg('--with-colons', '--list-keys'))?.[1] ?? '';
  }

  gpg(...args: string[]): string {
    return execFileSync('gpg', ['--homedir', this.home, '--batch', '--quiet', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  }

  /** Runs scripts/apt-repo.sh. */
  publish(directory: string, debs: readonly string[], env: NodeJS.ProcessEnv = {}) {
    return spawnSync('scripts/apt-repo.sh', [directory, ...debs], {
      cwd: root,
      env: { ...process.env, GNUPGHOME: this.home, APT_KEY: this.fingerprint, ...env },
      encoding: 'utf8',
    });
  }

  remove(): void {
    spawnSync('gpgconf', ['--homedir', this.home, '--kill', 'all']);
    rmSync(this.home, { recursive: true, force: true });
  }
}
