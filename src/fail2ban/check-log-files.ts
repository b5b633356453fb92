import { lstatSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../errors.js';
import { makeLogFiles, setUpAgain } from '../next-steps.js';
import { PAIR } from '../sinks/files/fail2ban-files.js';
import type { Finding } from '../sinks/sink.js';

/**
 * Checks the two files that fail2ban opens: they must be regular files of the daemon. A pipe blocks fail2ban for ever, and without one of
 * the files it starts none of its jails.
 *
 * @param directory that of the fail2ban sink; its owner is the daemon's user
 */
export function checkLogFiles(directory: string): Finding[] {
  try {
    const owner = lstatSync(directory, { throwIfNoEntry: false })?.uid;
    if (owner === undefined) return [];
    return PAIR.flatMap((name) => {
      const path = join(directory, name);
      const entry = lstatSync(path, { throwIfNoEntry: false });
      return entry === undefined ? [missing(path)] : [...kind(path, entry), ...ownership(path, entry, owner)];
    });
  } catch (error) {
    return [
      {
        level: 'warning',
        what: `${directory} can't be checked: ${messageOf(error)}`,
        next: 'run this as root',
      },
    ];
  }
}

function kind(path: string, entry: Stats): Finding[] {
  if (entry.isFile()) return [];
  const found = entry.isFIFO()
    ? 'a pipe, on which fail2ban blocks at its next start, with all its jails'
    : 'not a regular file';
  const what = `${path} is ${entry.isSymbolicLink() ? 'a link, which fail2ban follows as root' : found}`;
  const next = `find out who put it there, as the daemon creates only regular files; ${makeLogFiles()} removes it`;
  return [{ level: 'error', what, next }];
}

function ownership(path: string, entry: Stats, owner: number): Finding[] {
  const { uid, mode } = entry;
  if (!entry.isFile() || ((uid === owner || uid === 0) && (mode & 0o002) === 0)) return [];
  const who =
    uid === owner || uid === 0
      ? 'everybody may write to it'
      : `it belongs to uid ${uid}, and its directory to uid ${owner}`;
  const what = `${path}: ${who}. Every user who can write to it decides whom fail2ban bans`;
  return [{ level: 'warning', what, next: `see ls -l, and ${setUpAgain()}` }];
}

function missing(path: string): Finding {
  const what = `${path} is missing: fail2ban will not start without it, and none of its jails will run`;
  return { level: 'error', what, next: `${makeLogFiles()}, or start the daemon` };
}
