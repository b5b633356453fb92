import type { Database } from 'better-sqlite3';
import { sleepSync } from '../sleep-sync.js';
import type { FileState } from './file-state.js';
import { keepsWriterOut, leaveAlone } from './journal-mode.js';
import { readInPlace } from './read-in-place.js';
import type { Waiting, WaitingState } from './source.js';

export interface RetryOptions<C = never> {
  /** Tries in all. */
  readonly tries: number;
  /**
   * For a thread of its own, which may block: the pause before each further try, and the states that may be over by then. It also leaves a
   * writer alone that the read has kept out. Left out: the thread that ships, which tries again at once where files are in motion.
   */
  readonly blocking?: { readonly pauseMs: number; readonly brief: ReadonlySet<WaitingState> };
  /** Called before each try; what it throws is thrown. */
  readonly beforeTry?: () => void;
  /** Called after a try that found files in motion. */
  readonly onMotion?: () => void;
  /** What the work throws for reasons of its own, not of the database: it is thrown, and nothing is tried again. */
  readonly isOwnError?: (error: unknown) => boolean;
  /** What to do where only its writer can open the database; `retry` is the state if no further try helps. Left out: wait. */
  readonly fromCopy?: (files: FileState, waiting: Waiting) => CopyResult<C>;
}

export type CopyResult<C> = { readonly value: C } | { readonly retry: Waiting };

export type RetriedRead<T, C> =
  /** `files`: as they were before. */
  | { readonly kind: 'done'; readonly value: T; readonly files: FileState }
  | { readonly kind: 'copied'; readonly value: C }
  | { readonly kind: 'waiting'; readonly waiting: Waiting };

/** Reads a database in place, and tries again while its files are in motion or locked for a moment. */
export function readWithRetries<T, C = never>(
  database: string,
  work: (db: Database) => T,
  options: RetryOptions<C>,
): RetriedRead<T, C> {
  const { tries, blocking, fromCopy } = options;
  for (let left = tries - 1; ; left--) {
    options.beforeTry?.();
    const attempt = readOnceInPlace(database, work, options);
    if (attempt.kind === 'done') return attempt;
    let { waiting } = attempt;
    if (attempt.kind === 'waiting' && blocking?.brief.has(waiting.state) !== true)
      return { kind: 'waiting', waiting };
    if (attempt.kind === 'cold') {
      if (fromCopy === undefined) return { kind: 'waiting', waiting };
      const copied = fromCopy(attempt.files, waiting);
      if ('value' in copied) return { kind: 'copied', value: copied.value };
      waiting = copied.retry;
    }
    options.onMotion?.();
    if (left === 0) return { kind: 'waiting', waiting };
    if (blocking !== undefined) sleepSync(blocking.pauseMs);
  }
}

function readOnceInPlace<T>(
  database: string,
  work: (db: Database) => T,
  { blocking, isOwnError }: Pick<RetryOptions, 'blocking' | 'isOwnError'>,
): ReturnType<typeof readInPlace<T>> {
  let own: { readonly error: unknown } | null = null;
  let keptOut = false;
  const start = performance.now();
  const attempt = readInPlace(database, (db) => {
    if (blocking !== undefined) keptOut = keepsWriterOut(db);
    try {
      return work(db);
    } catch (error) {
      if (isOwnError?.(error) === true) own = { error };
      throw error;
    }
  });
  if (keptOut) leaveAlone(performance.now() - start);
  rethrow(own);
  return attempt;
}

function rethrow(own: { readonly error: unknown } | null): void {
  if (own !== null) throw own.error;
}
