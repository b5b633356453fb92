import type { Database } from 'better-sqlite3';
import { sleepSync } from '../sleep-sync.js';
import type { FileState } from './file-state.js';
import { keepsWriterOut, leaveAlone } from './journal-mode.js';
import { readInPlace } from './read-in-place.js';
import type { Waiting, WaitingState } from './source.js';

export interface RetryOptions<C = never> {
  /** Total number of attempts. */
  readonly tries: number;
  /**
   * For a thread that may block: the pause before each retry, and the states in which to retry. Such a thread also pauses after its read has
   * blocked the writer. Omitted: for the shipping thread, which retries at once, only while files are changing.
   */
  readonly blocking?: { readonly pauseMs: number; readonly brief: ReadonlySet<WaitingState> };
  /** Called before each attempt; its errors are passed on. */
  readonly beforeTry?: () => void;
  /** Called after an attempt that found changing files. */
  readonly onMotion?: () => void;
  /** Recognises errors of the work itself, not of the database: they are passed on without a retry. */
  readonly isOwnError?: (error: unknown) => boolean;
  /** Called if only its writer can open the database; `retry` is the state if no retry helps. Omitted: wait. */
  readonly fromCopy?: (files: FileState, waiting: Waiting) => CopyResult<C>;
}

export type CopyResult<C> = { readonly value: C } | { readonly retry: Waiting };

export type RetriedRead<T, C> =
  /** `files`: their state before the read. */
  | { readonly kind: 'done'; readonly value: T; readonly files: FileState }
  | { readonly kind: 'copied'; readonly value: C }
  | { readonly kind: 'waiting'; readonly waiting: Waiting };

/** Reads a database in place, with retries while its files are changing or briefly locked. */
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
