import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The output of a program; empty if the program is missing. */
function output(command: string, ...args: string[]): string {
  return spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } }).stdout ?? '';
}

/**
 * Debian packages extracted into a separate directory, for programs that can't be installed here: syslog-ng conflicts with rsyslog,
 * and CrowdSec registers the host with its vendor when it is installed.
 */
export class Unpacked {
  private constructor(readonly directory: string) {}

  /** The package with the libraries that it depends on, except those that are installed. */
  static withLibraries(name: string): Unpacked | null {
    const kinds = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
    const depends = output('apt-cache', 'depends', '--recurse', ...kinds.map((kind) => `--no-${kind}`), name);
    const libraries = new Set(
      [...depends.matchAll(/^ +\|?Depends: (lib[a-z0-9.+-]+)$/gm)].map((match) => match[1] ?? ''),
    );
    // Some dependencies of Debian 13 have an old name, which no package has any more but another one provides.
    const policy = output('apt-cache', 'policy', ...libraries);
    const absent = [...policy.matchAll(/^(\S+):\n {2}Installed: \(none\)\n {2}Candidate: (?!\(none\))/gm)];
    return Unpacked.of(name, ...absent.map((match) => match[1] ?? ''));
  }

  /** The packages. If they can't be downloaded: null and a warning with the reason, or an error if `CI` is set. */
  static of(...packages: readonly string[]): Unpacked | null {
    const directory = mkdtempSync(join(tmpdir(), 'postern-unpacked-'));
    const got = spawnSync('apt-get', ['download', '-q', '-o', 'Acquire::Retries=3', ...packages], {
      cwd: directory,
      encoding: 'utf8',
    });
    const files = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith('.deb')) : [];
    if (got.status === 0 && files.length === packages.length) {
      for (const file of files) {
        execFileSync('dpkg', ['-x', join(directory, file), directory]);
        rmSync(join(directory, file));
      }
      return new Unpacked(directory);
    }
    rmSync(directory, { recursive: true, force: true });
    const why = `apt-get download ${packages.join(' ')} fails here (${got.error?.message ?? got.stderr.trim()}). Next: apt-get update`;
    if (process.env.CI !== undefined) throw new Error(why);
    console.warn(`SKIPPED: ${why}`);
    return null;
  }

  at(path: string): string {
    return join(this.directory, path);
  }

  /** For LD_LIBRARY_PATH: every directory with Debian's libraries, and the given ones. */
  libraries(...own: readonly string[]): string {
    const roots = ['lib', 'usr/lib'].map((path) => this.at(path)).filter((path) => existsSync(path));
    const triplets = roots.flatMap((root) =>
      readdirSync(root)
        .filter((name) => name.endsWith('-linux-gnu'))
        .map((name) => join(root, name)),
    );
    return [...own.map((path) => this.at(path)), ...triplets].join(':');
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
