import type { Database } from 'better-sqlite3';
import type { Logger } from 'pino';
import { AuditdError } from '../errors.js';
import { mustBeOwn, mustHaveOpened } from '../shipping/as-owner.js';
import { StoppedDatabaseCopies } from '../source/copy-stopped-database.js';
import { stateOfFiles } from '../source/file-state.js';
import { keepsWriterOut, leaveAlone } from '../source/journal-mode.js';
import { readInPlace, readOnce } from '../source/read-in-place.js';
import type { Waiting } from '../source/source.js';
import { waitingFor } from '../source/waiting-reasons.js';

/** A lock, a recovery, or files that were written a moment ago: this often looked at again, ms apart. */
const TRIES = 60;
const PAUSE_MS = 25;

/**
 * Reads a database of another process in short steps: each opens it, reads in one transaction, and closes it, so that no
 * step holds up the WAL of who writes. For a thread of its own: it stands still while it waits.
 */
export class Opening {
  private readonly copies: StoppedDatabaseCopies;

  constructor(
    readonly database: string,
    privateDirectory: string,
    log: Logger,
    /** It is the daemon's own, in a directory that its user can write: a link there is refused. */
    private readonly own = false,
  ) {
    this.copies = new StoppedDatabaseCopies({ database, directory: privateDirectory, log });
  }

  isThere(): boolean {
    try {
      return stateOfFiles(this.database) !== null;
    } catch {
      return true; // what may not be looked at is said when it is read
    }
  }

  /** @throws AuditdError `SOURCE_UNUSABLE` in the words of the state that the database is in; what `work` throws */
  read<T>(work: (db: Database) => T): T {
    let waiting: Waiting | null = null;
    for (let tries = 0; tries < TRIES; tries++) {
      if (tries > 0) pause();
      if (this.own) mustBeOwn(this.database);
      let thrown: unknown = null;
      let keepsOut = false;
      const begin = performance.now();
      const attempt = readInPlace(this.database, (db) => {
        keepsOut = keepsWriterOut(db);
        try {
          if (this.own) mustHaveOpened(db, this.database);
          return work(db);
        } catch (error) {
          if (error instanceof AuditdError) thrown = error;
          throw error;
        }
      });
      if (keepsOut) leaveAlone(performance.now() - begin);
      if (thrown instanceof AuditdError) throw thrown;
      if (attempt.kind === 'done') {
        this.copies.drop();
        return attempt.value;
      }
      waiting = attempt.waiting;
      if (attempt.kind === 'cold') {
        const copy = this.copies.getOrCreate(attempt.files, attempt.waiting);
        if (this.own) mustBeOwn(this.database);
        if ('path' in copy) return this.fromCopy(copy.path, attempt.files, work);
        if ('state' in copy) waiting = copy;
        continue;
      }
      if (attempt.kind === 'waiting' && waiting.state !== 'locked' && waiting.state !== 'recovering') break;
    }
    throw unusable(waiting);
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

function unusable(waiting: Waiting | null): AuditdError {
  return new AuditdError('SOURCE_UNUSABLE', waiting?.message ?? 'the database is changing; try again');
}

const nothing = new Int32Array(new SharedArrayBuffer(4));

function pause(): void {
  Atomics.wait(nothing, 0, 0, PAUSE_MS);
}
