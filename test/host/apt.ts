import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDeb, deb, SigningKey } from '../support/debian.js';
import type { Host, Suite } from './host.js';

const PORT = 8080;
const KEYRING = '/usr/share/keyrings/postern-archive-keyring.pgp';

/**
 * A signed repository that a host reaches over HTTP. It has the package of this tree; `publish` adds a later revision of it, which is the
 * same program.
 */
export class AptRepository {
  readonly #directory = mkdtempSync(join(tmpdir(), 'pa-repository-'));
  readonly #key = new SigningKey('3y');
  /** Packages outside of the repository, for `dpkg --install`. */
  readonly packages = join(this.#directory, 'packages');

  constructor() {
    mkdirSync(this.packages);
    cpSync(deb(), join(this.packages, 'postern-auditd_1.deb'));
    this.#add(deb());
  }

  #add(file: string): void {
    const { status, stderr } = this.#key.publish(join(this.#directory, 'web/stable'), [file]);
    if (status !== 0) throw new Error(stderr);
    execFileSync('chmod', ['-R', 'a+rX', this.#directory]);
  }

  /** The file name and version of a revision of the package that is not published. */
  build(revision: number): { file: string; version: string } {
    const file = buildDeb(join(this.#directory, 'built'), { DEB_REVISION: String(revision) });
    const name = `postern-auditd_${revision}.deb`;
    cpSync(file, join(this.packages, name));
    return { file, version: /_([^_]+)_/.exec(file)?.[1] ?? '' };
  }

  /** Publishes a revision of the package; returns its version. */
  publish(revision: number): string {
    const { file, version } = this.build(revision);
    this.#add(file);
    return version;
  }

  /**
   * Lets the host use this repository and no other, as docs/guide/INSTALL.md says.
   *
   * @param debian true adds Debian's packages of the suite that have been downloaded for test hosts
   */
  async serve(host: Host, debian?: Suite): Promise<void> {
    const web = join(this.#directory, 'web');
    if (debian !== undefined) mirrorDebian(debian, join(web, debian));
    host.start('client', [
      'python3',
      '-m',
      'http.server',
      '--bind',
      '10.77.0.1',
      '--directory',
      web,
      String(PORT),
    ]);
    await host.put(join(web, 'stable/postern-archive-keyring.pgp'), KEYRING);
    await host.exec('rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*');
    await host.write(
      '/etc/apt/sources.list.d/postern.sources',
      `Types: deb\nURIs: http://10.77.0.1:${PORT}/stable\nSuites: stable\nComponents: main\nSigned-By: ${KEYRING}\n`,
    );
    if (debian !== undefined) {
      const line = `deb [trusted=yes] http://10.77.0.1:${PORT}/${debian} ./\n`;
      await host.write('/etc/apt/sources.list.d/debian.list', line);
    }
    await host.waitFor('apt-get update --error-on=any 2>&1', (_, code) => code === 0);
  }

  remove(): void {
    this.#key.remove();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A flat repository of the packages that debootstrap has downloaded (host.sh). */
function mirrorDebian(suite: Suite, directory: string): void {
  const store = process.env.POSTERN_TEST_HOSTS ?? join(homedir(), '.cache/postern-auditd-test-hosts');
  mkdirSync(directory);
  for (const kind of [suite, `${suite}-bare`]) {
    const from = join(store, 'debs', kind);
    for (const name of readdirSync(from).filter((each) => each.endsWith('.deb')))
      cpSync(join(from, name), join(directory, name.replace('%3a', '.')));
  }
  const script =
    'cd "$1" && apt-ftparchive packages . >Packages && apt-ftparchive release . >Release && chmod -R a+rX .';
  execFileSync('sh', ['-ec', script, 'sh', directory]);
}

/** Runs apt-get as unattended-upgrades does: nobody answers a question. `said` has all its output. */
export async function apt(
  host: Host,
  command: string,
  settings: { check?: boolean } = {},
): Promise<{ code: number; said: string }> {
  return withoutAnswers(host, `apt-get -qy ${command}`, settings);
}

/** Runs a shell command that may run dpkg, with nobody to answer a question. */
export async function withoutAnswers(
  host: Host,
  command: string,
  settings: { check?: boolean } = {},
): Promise<{ code: number; said: string }> {
  const line = `export DEBIAN_FRONTEND=noninteractive; exec 2>&1 </dev/null; ${command}`;
  const ran = await host.exec(line, settings);
  return { code: ran.code, said: ran.stdout };
}
