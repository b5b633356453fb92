import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

export interface BansWatch {
  close(): void;
}

/**
 * Calls `onChange` when bans.log may have grown: soon after it was written to, and every `pollMs` besides, as a watch can
 * be lost (a directory that was removed, too many watches) and may not come about at all.
 *
 * @param path bans.log; neither it nor its directory need be there
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
        // The directory's own name comes when it is removed: the inode that was watched is dead.
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
