import { readdirSync, readlinkSync } from 'node:fs';

/** What the descriptors of a process are open on, as /proc names it. Those that were closed meanwhile are left out. */
export function openFiles(pid: number | 'self'): string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((descriptor) => {
    try {
      return [readlinkSync(`${directory}/${descriptor}`)];
    } catch {
      return []; // the one of readdir itself, too
    }
  });
}
