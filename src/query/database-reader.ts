import type { Database } from 'better-sqlite3';
import type { Logger } from 'pino';
import { AuditdError } from '../errors.js';
import { mustBeOwn, mustHaveOpened } from '../shipping/as-owner.js';
import { StoppedDatabaseCopies } from '../source/copy-stopped-database.js';
import { stateOfFiles } from '../source/file-state.js';
import { readOnce } from '../source/read-in-place.js';
import { readWithRetries } from '../source/read-with-retries.js';
import type { Waiting, WaitingState } from '../source/source.js';
import { waitingFor } from '../source/waiting-reasons.js';

/** Retries, and the ms between them, for a lock, a recovery, or files that were just written. */
const TRIES = 60;
const PAUSE_MS = 25;
const BRIEF: ReadonlySet<WaitingState> = new Set(['locked', 'recovering']);

/**
 * Reads a database of another process in short steps. Each step opens the database, reads in one transaction and closes it, so that none
 * delays a checkpoint of the writer's WAL. Waiting blocks, so the reader needs a thread of its own.
 */
export class DatabaseReader {
  private readonly copies: StoppedDatabaseCopies;

  constructor(
    readonly database: string,
    privateDirectory: string,
    log: Logger,
    /** Whether it is the daemon's own database, in a directory that its user can write: a link there is rejected. */
    private readonly own = false,
  ) {
    this.copies = new StoppedDatabaseCopies({ database, directory: privateDirectory, log });
  }

  exists(): boolean {
    try {
      return stateOfFiles(this.database) !== null;
    } catch {
      return true; // a missing permission is reported when the database is read
    }
  }

  /** @throws AuditdError `SOURCE_UNUSABLE` with the reason why the database can't be read; errors of `work` */
  read<T>(work: (db: Database) => T): T {
    const attempt = readWithRetries(
      this.database,
      (db) => {
        if (this.own) mustHaveOpened(db, this.database);
        return work(db);
      },
      {
        tries: TRIES,
        blocking: { pauseMs: PAUSE_MS, brief: BRIEF },
        beforeTry: () => this.own && mustBeOwn(this.database),
        isOwnError: (error) => error instanceof AuditdError,
        fromCopy: (files, waiting) => {
          const copy = this.copies.getOrCreate(files, waiting);
          if (this.own) mustBeOwn(this.database);
          if ('path' in copy) return { value: this.fromCopy(copy.path, files, work) };
          return { retry: 'state' in copy ? copy : waiting };
        },
      },
    );
    if (attempt.kind === 'waiting') throw unusable(attempt.waiting);
    if (attempt.kind === 'done') this.copies.drop();
    return attempt.value;
  }

  close(): void {
    this.copies.drop();
  }

  private fromCopy<T>(path: string, files: Parameters<typeof waitingFor>[1], work: (db: Database) => T): T {
    try {
      return readOnce(path, false, work);
    } catch (error) {
      if (error instanceof AuditdError) throw error;
      throw unusable(waitingFor(this.database, files, error));
    }
  }
}

function unusable({ what, next }: Waiting): AuditdError {
  return new AuditdError('SOURCE_UNUSABLE', what, { next });
}
