import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Debian packages unpacked into a directory of their own, for programs that can't be installed here: syslog-ng excludes rsyslog,
 * and CrowdSec registers the host with its makers when it is installed.
 */
export class Unpacked {
  private constructor(readonly directory: string) {}

  /** Null, and a word why, where they can't be had; throws where `CI` is set. */
  static of(...packages: readonly string[]): Unpacked | null {
    const directory = mkdtempSync(join(tmpdir(), 'postern-siem-unpacked-'));
    const got = spawnSync('apt-get', ['download', '-q', ...packages], { cwd: directory, encoding: 'utf8' });
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

  /** For LD_LIBRARY_PATH: every directory in which Debian keeps libraries, and the given ones. */
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
