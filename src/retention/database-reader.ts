import type { Database } from 'better-sqlite3';
import { AuditdError } from '../errors.js';
import { readWithRetries } from '../source/read-with-retries.js';
import type { WaitingState } from '../source/source.js';
import { sourceUnusable } from './error-parts.js';
import { anotherFile, type FileIdentity, isFileAt } from './file-identity.js';

/** Retries during a lock or a recovery, and the pause between them, ms. */
const TRIES = 200;
const PAUSE_MS = 25;

/** States that may end soon. */
const BRIEF: ReadonlySet<WaitingState> = new Set(['locked', 'recovering', 'exclusive']);

/** Opens a database, reads in one short transaction, and closes it. */
export type Read = <T>(work: (db: Database) => T) => T;

/**
 * For a worker thread: waiting blocks it.
 *
 * @param file the database for which the rows to read were determined; null: any
 * @returns a Read that throws AuditdError `SOURCE_UNUSABLE` with the message of the database's state, and what `work` throws
 */
export function createRead(database: string, file: FileIdentity | null = null): Read {
  return <T>(work: (db: Database) => T): T => {
    const attempt = readWithRetries(
      database,
      (db) => {
        if (file !== null && !isFileAt(database, file)) throw sourceUnusable(anotherFile(database));
        return work(db);
      },
      {
        tries: TRIES,
        blocking: { pauseMs: PAUSE_MS, brief: BRIEF },
        isOwnError: (error) => error instanceof AuditdError || !isOfSqlite(error),
        // No copy of a stopped Postern's database: nothing is archived or removed without Postern.
      },
    );
    if (attempt.kind !== 'waiting') return attempt.value;
    const { what, next } = attempt.waiting;
    throw sourceUnusable({ what, next: next ?? 'Wait for the next run, which tries again' });
  };
}

function isOfSqlite(error: unknown): boolean {
  return error instanceof Error && error.name === 'SqliteError';
}
