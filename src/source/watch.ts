import { type FSWatcher, statSync, watch as watchDirectory } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Logger } from 'pino';
import { type PeriodicTask, ticker } from '../ticker.js';
import { dueAfterEvent, onEvent, onRead, type PollStep } from './poll-schedule.js';
import { watchTrouble } from './watch-error.js';

/**
 * A directory is checked again after this many polls without a change: a directory that was moved away and back, with the same files, can't
 * be detected otherwise.
 */
const ATTACH_POLLS = 10;

/** An event checks whether it was caused by a change; a poll, whether anything may be unread. */
export type Asking = 'event' | 'poll';

export interface WatchOptions {
  /** The path of the database; resolved again after each change found by a poll, and now and then, because a link may be retargeted. */
  readonly database: () => string;
  /** Milliseconds. */
  readonly pollInterval: number;
  /**
   * Whether a read may find anything. Not every event is a change: if root reads in a writable directory, SQLite's fchown of the -wal at
   * each open causes one, and reads would trigger each other for ever.
   */
  readonly mayHaveChanged: (asks: Asking) => boolean;
  readonly log: Logger;
}

/**
 * Calls back after each change of the database's files, several times with growing delays, and at each poll.
 * @param onWake reads; true if it found rows
 */
export function watchDatabase(options: WatchOptions, onWake: () => unknown): { close(): void } {
  const watcher = new DatabaseWatcher(options, onWake);
  return { close: () => watcher.close() };
}

class DatabaseWatcher {
  private watcher: FSWatcher | null = null;
  private watched: { readonly directory: string; readonly inode: bigint } | null = null;
  private names = new Set<string>();
  private step: PollStep | null = null;
  /** The start of the step's offset, and when the timer is due; milliseconds of `performance.now()`. */
  private base = 0;
  private due = 0;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;
  private warnedOf = '';
  private readonly poll: PeriodicTask;
  private unchangedPolls = 0;

  constructor(
    private readonly options: WatchOptions,
    private readonly onWake: () => unknown,
  ) {
    this.attach();
    this.poll = ticker.every(options.pollInterval, () => this.onPoll());
    // Not synchronously: the caller does not have the returned object yet.
    this.step = onEvent(null);
    this.arm(performance.now() + 1);
  }

  close(): void {
    this.closed = true;
    this.poll.close();
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.detach();
  }

  private onPoll(): void {
    const hasChanged = this.options.mayHaveChanged('poll');
    this.unchangedPolls = hasChanged ? 0 : this.unchangedPolls + 1;
    if (hasChanged || this.watcher === null || this.unchangedPolls % ATTACH_POLLS === 0) this.attach();
    if (this.timer === null && hasChanged) this.read();
  }

  /** Watches the database's current directory; if that fails, polling is enough. */
  private attach(): void {
    const database = this.options.database();
    const directory = dirname(database);
    const name = basename(database);
    const inode = inodeOf(directory);
    if (inode === undefined) {
      this.detach();
      return;
    }
    this.names = new Set([name, `${name}-wal`, `${name}-journal`]);
    if (this.watcher !== null && this.watched?.directory === directory && this.watched.inode === inode)
      return;
    this.detach();
    try {
      const watcher = watchDirectory(directory, (_, file) => {
        if ((file === null || this.names.has(file)) && this.options.mayHaveChanged('event')) this.event();
      });
      watcher.on('error', (error) => {
        this.warnOnce(directory, error);
        if (this.watcher === watcher) this.detach();
      });
      this.watcher = watcher;
      this.watched = { directory, inode };
      this.warnedOf = '';
    } catch (error) {
      this.warnOnce(directory, error);
    }
  }

  private detach(): void {
    this.watcher?.close();
    this.watcher = null;
    this.watched = null;
  }

  private warnOnce(directory: string, error: unknown): void {
    const { what, next } = watchTrouble(error);
    if (what === this.warnedOf) return;
    this.warnedOf = what;
    this.options.log.warn(
      { directory },
      `${directory} can't be watched: ${what}. It is polled every ${this.options.pollInterval} ms instead. ${next}`,
    );
  }

  private event(): void {
    const now = performance.now();
    this.step = onEvent(this.step);
    this.base = now;
    const due = dueAfterEvent(this.step, now, this.timer === null ? null : this.due);
    if (this.timer === null || due < this.due) this.arm(due);
  }

  private arm(due: number): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.due = due;
    const delay = due - performance.now();
    if (delay <= 0) {
      this.timer = null;
      this.runNextPoll();
    } else {
      this.timer = setTimeout(() => {
        this.timer = null;
        this.runNextPoll();
      }, delay);
    }
  }

  private runNextPoll(): void {
    const step = this.step;
    if (step === null || this.closed) return;
    const found = this.read();
    this.step = onRead(step, found);
    if (this.step === null || this.closed) return;
    if (this.step.kind === 'trailing' && found) this.base = performance.now();
    // A read that took longer than a step skips to the next step that is still due.
    const due = this.base + this.step.offset;
    this.arm(Math.max(due, performance.now() + 0.5));
  }

  private read(): boolean {
    return this.onWake() === true;
  }
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
  } catch {
    return undefined; // no permission for a parent directory: the next read reports it
  }
}
