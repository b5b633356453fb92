import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AuditdError } from './errors.js';

/** The directory of the program: with package.json, dist/, web/ and fail2ban/. This file may be anywhere below it, in a bundle too. */
export const ROOT = rootAbove(import.meta.dirname);

function rootAbove(directory: string): string {
  if (existsSync(join(directory, 'package.json')) || dirname(directory) === directory) return directory;
  return rootAbove(dirname(directory));
}

/** What is started by its name, as a thread or a child process (scripts/build.js has the list). */
export function programFile(name: `${string}.js`): URL {
  return pathToFileURL(join(ROOT, 'dist', name));
}

/**
 * Loads code that not every process needs, and none before it does. Unlike a static import this can fail while the program runs: when
 * its files were replaced by an upgrade.
 *
 * @param what names the code, for the error
 * @throws AuditdError `NOT_INSTALLED`
 */
export async function loadPart<T>(what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new AuditdError('NOT_INSTALLED', `The code for ${what} can't be loaded from ${ROOT}`, {
      next: 'If the program was replaced while this process ran, start it again',
      cause: error,
    });
  }
}
