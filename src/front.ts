import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './installation.js';

/**
 * How the program came to this host, which decides the next step in messages:
 *
 * - `debian`: the Debian package, with its program in /usr/lib/postern-auditd
 * - `installer`: install.sh, of a release or a clone, with its program in /opt/postern-auditd
 * - `container`: the container image
 * - `source`: nothing of these: a clone, or an unpacked release, that runs where it is
 */
export type Front = 'debian' | 'installer' | 'container' | 'source';

const FRONTS: readonly string[] = ['debian', 'installer', 'container', 'source'] satisfies Front[];

const PLACES: Readonly<Record<string, Front>> = {
  '/usr/lib/postern-auditd': 'debian',
  '/opt/postern-auditd': 'installer',
};

/**
 * A package or an image may bring a file `front` beside package.json, with one of the words; without it the place decides. An image has
 * to: a host may itself be a container of another engine.
 */
export function frontOf(root: string): Front {
  try {
    const word = readFileSync(join(root, 'front'), 'utf8').trim();
    if (FRONTS.includes(word)) return word as Front;
  } catch {
    // most have none
  }
  return PLACES[root] ?? 'source';
}

let known: Front | undefined;

/** The front of this program. */
export function front(): Front {
  known ??= frontOf(ROOT);
  return known;
}
