import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const INPUTS =
  'src bin config detections docs fail2ban install install.sh packaging systemd web package.json package-lock.json scripts';

/**
 * The directory `.cache/NAME`, filled by the shell command, which gets its path as $1. It is filled again if something that a release is
 * made of has changed since, by one of the test files that request it at the same time.
 *
 * @param env added to that of the tests
 */
export function built(name: string, command: string, env: NodeJS.ProcessEnv = {}): string {
  const directory = join(root, '.cache', name);
  const stamp = `${directory}.built`;
  mkdirSync(dirname(directory), { recursive: true });
  const script = `[ -f "$1" ] && [ -z "$(find ${INPUTS} -newer "$1" -type f -print -quit)" ] && exit
    rm -rf "$1" "$2" && mkdir "$2" && touch "$1.begun" && sh -ec "$3" sh "$2" && mv "$1.begun" "$1"`;
  execFileSync('flock', [`${directory}.lock`, 'sh', '-c', script, 'sh', stamp, directory, command], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return directory;
}

/** The production tree that all packages pack. */
export function releaseTree(): string {
  return built('release-tree', 'scripts/release-tree.sh "$1"');
}
