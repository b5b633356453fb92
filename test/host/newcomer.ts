import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { bootHost, type Host } from './host.js';

const ROOT = resolve(import.meta.dirname, '../..');
export const CLONE = '/home/ada/postern-auditd';

/**
 * A bare Debian 13 with these packages, a plain user and the repository, without fail2ban, sqlite3 and
 * rsyslog. Its locale and time zone are those of a minimal installation.
 */
export async function bootNewcomer(
  name: string,
  packages: readonly string[],
  binds: readonly string[],
): Promise<Host> {
  const host = await bootHost({ suite: 'trixie', name, bare: true, packages, node: false, binds });
  await host.exec(`useradd --create-home --shell /bin/bash ada && install -d -o ada -g ada ${CLONE}`);
  const directory = mkdtempSync(join(tmpdir(), 'pa-clone-'));
  try {
    const script = `git -c safe.directory='*' -C "$1" archive HEAD | tar -x -C "$2"`;
    execFileSync('bash', ['-o', 'pipefail', '-c', script, 'bash', ROOT, directory]);
    await host.put(directory, CLONE);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  // The tests read from git, so the clone is a repository.
  await host.exec(`chown -R ada: ${CLONE}`);
  await asAda(
    host,
    'git init -q && git add -A && git -c user.name=ada -c user.email=ada@example.net commit -qm all',
  );
  return host;
}

/** Runs a shell command as the plain user in the clone. Returns all its output. */
export async function asAda(host: Host, line: string): Promise<string> {
  return (await host.exec(['su', '-', 'ada', '-c', `cd ${CLONE} && exec 2>&1; ${line}`])).stdout;
}
