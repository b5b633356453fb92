import fs from 'node:fs';
import { dirname } from 'node:path';
import { isDenied, messageOf } from '../../errors.js';
import { allowWriting } from '../../next-steps.js';
import type { Finding } from '../sink.js';
import type { Disk } from './filesystem.js';
import { floorOf } from './free-space.js';
import { groupId, type LogDirectory } from './log-directory.js';

const MEGABYTE = 2 ** 20;

/**
 * Looks over a local sink's directory without changing anything: there or makeable, writable, room, group, what else lies in it.
 *
 * @param ours true for the names that the sink itself makes
 */
export function checkDirectory(
  disk: Disk,
  location: LogDirectory,
  minFree: number,
  ours: (name: string) => boolean,
): Finding[] {
  const { directory } = location;
  try {
    return [
      ...place(disk, directory),
      ...room(disk, directory, minFree),
      ...group(location),
      ...others(disk, directory, ours),
    ];
  } catch (error) {
    return [
      {
        level: 'error',
        what: `${directory}: ${messageOf(error)}`,
        next: `check it with ls -ld ${directory}`,
        ...(isDenied(error) ? { access: true } : {}),
      },
    ];
  }
}

function writable(path: string): boolean {
  try {
    fs.accessSync(path, fs.constants.W_OK | fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The directory itself, or the one nearest above it that exists. */
function existing(directory: string): string {
  return fs.existsSync(directory) || dirname(directory) === directory
    ? directory
    : existing(dirname(directory));
}

function place(disk: Disk, directory: string): Finding[] {
  const at = existing(directory);
  if (!fs.statSync(at).isDirectory())
    return [{ level: 'error', what: `${at} is not a directory`, next: `move ${at} away` }];
  if (!writable(at)) {
    const user = process.getuid?.() ?? '?';
    return [
      {
        level: 'error',
        what: `user ${user} can't write to ${at}`,
        next: allowWriting(at),
        access: true,
      },
    ];
  }
  const there = at === directory && disk.entryAt(directory) !== null;
  return [
    { level: 'ok', what: there ? `${directory} is writable` : `${directory} will be created in ${at}` },
  ];
}

function room(disk: Disk, directory: string, minFree: number): Finding[] {
  const { total, free } = disk.space(existing(directory));
  const floor = floorOf(minFree, total);
  const what = `${Math.floor(free / MEGABYTE)} MB free for ${directory}, ${Math.floor(floor / MEGABYTE)} MB must stay free`;
  if (free >= floor) return [{ level: 'ok', what }];
  return [{ level: 'error', what, next: 'free space on that disk, or lower min_free' }];
}

function group({ group: name, directory }: LogDirectory): Finding[] {
  if (name === null) return [];
  const gid = groupId(name);
  if (gid === null) {
    const next = `set the sink's group to one that exists, or to null`;
    return [
      {
        level: 'warning',
        what: `the group ${name} does not exist: files in ${directory} keep the daemon's group`,
        next,
      },
    ];
  }
  const uid = process.getuid?.();
  if (uid === 0 || process.getgroups?.().includes(gid) === true || process.getgid?.() === gid) return [];
  const what = `the daemon's user is not in the group ${name}: files in ${directory} keep its own group`;
  return [
    {
      level: 'warning',
      what,
      access: true,
      next: `add the user to ${name} (SupplementaryGroups=${name} in the unit)`,
    },
  ];
}

function others(disk: Disk, directory: string, ours: (name: string) => boolean): Finding[] {
  const foreign = disk.names(directory).filter((name) => !ours(name));
  if (foreign.length === 0) return [];
  const shown = foreign.slice(0, 5).join(', ') + (foreign.length > 5 ? ', …' : '');
  return [
    {
      level: 'warning',
      what: `other files in ${directory}: ${shown}`,
      next: 'move them away; the sink leaves them alone',
    },
  ];
}
