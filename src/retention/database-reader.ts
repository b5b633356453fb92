import type { Database } from 'better-sqlite3';
import { AuditdError } from '../errors.js';
import { keepsWriterOut, leaveAlone } from '../source/journal-mode.js';
import { readInPlace } from '../source/read-in-place.js';
import type { Waiting } from '../source/source.js';
import { anotherFile, type FileIdentity, isFileAt } from './file-identity.js';

/** A lock or a recovery: this often looked at again, ms apart. */
const TRIES = 200;
const PAUSE_MS = 25;

/** What may be over in a moment. */
const BRIEF: ReadonlySet<Waiting['state']> = new Set(['locked', 'recovering', 'exclusive']);

/** Opens a database, reads in one short transaction, and closes it. */
export type Read = <T>(work: (db: Database) => T) => T;

/**
 * For a thread of its own: it stands still while it waits.
 *
 * @param file what the path led to when it was decided which rows may be looked at; null: any
 * @returns a Read that throws AuditdError `SOURCE_UNUSABLE` in the words of the state that the database is in, and what `work` throws
 */
export function readingOf(database: string, file: FileIdentity | null = null): Read {
  return <T>(work: (db: Database) => T): T => {
    let waiting: Waiting | null = null;
    for (let tries = 0; tries < TRIES; tries++) {
      if (tries > 0) Atomics.wait(nothing, 0, 0, PAUSE_MS);
      let thrown: unknown = null;
      let keepsOut = false;
      const begin = performance.now();
      const attempt = readInPlace(database, (db) => {
        keepsOut = keepsWriterOut(db);
        try {
          if (file !== null && !isFileAt(database, file))
            throw new AuditdError('SOURCE_UNUSABLE', anotherFile(database));
          return work(db);
        } catch (error) {
          if (error instanceof AuditdError || !isOfSqlite(error)) thrown = error;
          throw error;
        }
      });
      if (keepsOut) leaveAlone(performance.now() - begin);
      if (thrown !== null) throw thrown;
      if (attempt.kind === 'done') return attempt.value;
      waiting = attempt.waiting;
      if (attempt.kind === 'cold') break; // Postern is stopped: nothing is archived or removed without it
      if (attempt.kind === 'waiting' && !BRIEF.has(waiting.state)) break;
    }
    throw new AuditdError(
      'SOURCE_UNUSABLE',
      `${waiting?.message ?? `${database} is changing`}. The next run tries again`,
    );
  };
}

const nothing = new Int32Array(new SharedArrayBuffer(4));

function isOfSqlite(error: unknown): boolean {
  return error instanceof Error && error.name === 'SqliteError';
}
