import type { Database } from 'better-sqlite3';
import { AuditdError } from '../errors.js';
import { readWithRetries } from '../source/read-with-retries.js';
import type { WaitingState } from '../source/source.js';
import { sourceUnusable } from './error-parts.js';
import { anotherFile, type FileIdentity, isFileAt } from './file-identity.js';

/** A lock or a recovery: this often looked at again, ms apart. */
const TRIES = 200;
const PAUSE_MS = 25;

/** What may be over in a moment. */
const BRIEF: ReadonlySet<WaitingState> = new Set(['locked', 'recovering', 'exclusive']);

/** Opens a database, reads in one short transaction, and closes it. */
export type Read = <T>(work: (db: Database) => T) => T;

/**
 * For a thread of its own: it stands still while it waits.
 *
 * @param file what the path led to when it was decided which rows may be looked at; null: any
 * @returns a Read that throws AuditdError `SOURCE_UNUSABLE` in the words of the state that the database is in, and what `work` throws
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
