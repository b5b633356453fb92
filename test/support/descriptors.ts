import { readdirSync, readlinkSync } from 'node:fs';

/** The files that a process has open, as in /proc. Descriptors that were closed meanwhile are omitted. */
export function openFiles(pid: number | 'self'): string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((descriptor) => {
    try {
      return [readlinkSync(`${directory}/${descriptor}`)];
    } catch {
      return []; // also for the descriptor of readdir itself
    }
  });
}
