import fs from 'node:fs';
import { codeOf } from '../../errors.js';
import type { Disk } from './filesystem.js';

/** The directory of a local sink's files, and their mode and group. */
export interface LogDirectory {
  readonly directory: string;
  readonly mode: number;
  readonly group: string | null;
}

/** The number of a group from /etc/group, or of its own text; null if no group has that name. */
export function groupId(name: string): number | null {
  if (/^\d+$/.test(name)) return Number(name);
  try {
    const line = fs
      .readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((entry) => entry.startsWith(`${name}:`));
    const gid = line?.split(':')[2];
    return gid === undefined || !/^\d+$/.test(gid) ? null : Number(gid);
  } catch {
    return null;
  }
}

/** The directory's mode: who may read the files may enter the directory. */
function directoryMode(fileMode: number): number {
  return 0o700 | (fileMode & 0o040 ? 0o050 : 0) | (fileMode & 0o004 ? 0o005 : 0);
}

/** Mode and group of a file or directory. What this user may not set is left as it is; `check` reports it. */
export function setOwnership(disk: Disk, fd: number, location: LogDirectory, mode: number): void {
  const gid = location.group === null ? null : groupId(location.group);
  const attempt = (act: () => void): void => {
    try {
      act();
    } catch (error) {
      if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'EINVAL') throw error; // EINVAL: a group unknown in this user namespace
    }
  };
  if (gid !== null) attempt(() => disk.changeGroup(fd, gid));
  attempt(() => disk.changeMode(fd, mode));
}

/** Makes the directory if it is not there, with the group and the mode that go with the files'. */
export function prepareDirectory(disk: Disk, location: LogDirectory): void {
  if (disk.entryAt(location.directory) !== null) return;
  const mode = directoryMode(location.mode);
  disk.makeDirectory(location.directory, mode);
  const fd = disk.open(location.directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    setOwnership(disk, fd, location, mode);
  } finally {
    disk.close(fd);
  }
}

/** A directory's names are on the medium when it resolves. */
export async function syncDirectory(disk: Disk, directory: string): Promise<void> {
  const fd = disk.open(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    await disk.sync(fd);
  } finally {
    disk.close(fd);
  }
}
