import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { built, releaseTree } from '../support/built.js';

const root = resolve(import.meta.dirname, '../..');

/** gzip at its fastest. */
const QUICK = { LEVEL: '1' };

/** What is missing for `programs`, as a sentence; null if nothing is. */
export function whyMissing(programs: readonly string[]): string | null {
  const missing = programs.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  if (missing.length === 0) return null;
  return `${missing.join(', ')} missing: apt-get install --no-install-recommends $(grep -v '^#' test/container/packages.txt)`;
}

/** Builds the image of this tree in `directory`. Returns what the script printed. */
export function buildImage(directory: string): string {
  return execFileSync('scripts/image.sh', [directory], {
    cwd: root,
    env: { ...process.env, ...QUICK, TREE: releaseTree() },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** The file of an image of this tree, built once. */
export function image(): string {
  const directory = built('image', 'scripts/image.sh "$1"', { ...QUICK, TREE: releaseTree() });
  return join(directory, readdirSync(directory).find((name) => name.endsWith('.tar')) ?? '');
}
