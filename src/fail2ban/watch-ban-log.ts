import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { codeOf } from '../errors.js';
import { ticker } from '../ticker.js';

export interface BansWatch {
  close(): void;
}

const POLL_MS = 5_000;
/** A change that shows in nothing that a poll looks at is found after so many polls: with polls of 5 s, after a minute. */
const FULL_POLLS = 12;

/**
 * Calls `onChange` when bans.log may have grown: soon after a write, and at each poll that finds another file, size or time. A watch can
 * fail or be lost (the directory was removed, too many watches).
 *
 * @param path bans.log; neither it nor its directory has to exist
 * @param onChange false if it must be called again at the next poll, changed or not
 * @param pollMs milliseconds
 * @param fullPolls after so many polls it is called in any case
 */
export function watchBans(
  path: string,
  onChange: () => boolean,
  pollMs = POLL_MS,
  fullPolls = FULL_POLLS,
): BansWatch {
  const name = basename(path);
  let watcher: FSWatcher | null = null;
  let read: string | null = null;
  let polls = 0;
  const drop = () => {
    watcher?.close();
    watcher = null;
  };
  const attach = () => {
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
  const poll = () => {
    if (watcher === null) attach();
    const found = figuresOf(path); // before it is read: what is written meanwhile shows at the next poll
    if (found === read && ++polls < fullPolls) return;
    polls = 0;
    read = onChange() ? found : null;
  };
  attach();
  const task = ticker.every(pollMs, poll, { keepsAlive: false });
  return {
    close: () => {
      task.close();
      drop();
    },
  };
}

/** What a write to the file, a rotation or its removal changes. */
function figuresOf(path: string): string {
  try {
    const { dev, ino, size, mtimeMs } = statSync(path);
    return `${dev}:${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    return codeOf(error) ?? 'failed';
  }
}
