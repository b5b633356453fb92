import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

export interface BansWatch {
  close(): void;
}

/**
 * Calls `onChange` when bans.log may have grown: soon after a write, and also every `pollMs`. A watch can fail or be lost (the directory
 * was removed, too many watches).
 *
 * @param path bans.log; neither it nor its directory has to exist
 * @param pollMs milliseconds
 */
export function watchBans(path: string, onChange: () => void, pollMs = 5_000): BansWatch {
  const name = basename(path);
  let watcher: FSWatcher | null = null;
  const drop = () => {
    watcher?.close();
    watcher = null;
  };
  const take = () => {
    try {
      watcher = watch(dirname(path), { persistent: false }, (_, changed) => {
        // An event with the directory's own name means that it was removed: the watched inode is dead.
        if (changed === name) onChange();
        else if (changed === basename(dirname(path))) drop();
      });
      watcher.on('error', drop);
    } catch {
      watcher = null;
    }
  };
  take();
  const timer = setInterval(() => {
    if (watcher === null) take();
    onChange();
  }, pollMs);
  timer.unref();
  return {
    close: () => {
      clearInterval(timer);
      drop();
    },
  };
}
