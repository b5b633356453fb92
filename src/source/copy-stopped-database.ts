import {
  chmodSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { codeOf, messageOf } from '../errors.js';
import { type FileState, isSettled, stateOfFiles } from './file-state.js';
import { type Waiting, waiting } from './source.js';
import { withoutSuperJournal } from './super-journal.js';

/**
 * Largest database (its WAL and journal included) that is copied byte for byte: ext4 has no other way, and 1 GiB takes
 * a second or two in which nothing else is read. File systems that share blocks (btrfs, XFS) copy any size at once.
 */
const MAX_COPY = 2 ** 30;
/** How long a copy is kept for reads of further pages. */
const KEEP_MS = 30_000;
/** A writer that opens and closes the database for each commit leaves it stopped each time: copies may take 5 % of the time. */
const PAUSE_FACTOR = 20;
const PREFIX = 'cold-';

export type Copy = { readonly path: string } | { readonly again: string } | Waiting;

export interface ColdCopiesOptions {
  readonly database: string;
  /** Private to this process; created when needed. */
  readonly directory: string;
  readonly log: Logger;
  /** Bytes. */
  readonly maxCopy?: number;
  /** Milliseconds of a monotonic clock. */
  readonly ticks?: () => number;
}

/**
 * Copies of a stopped Postern's database, in a private directory.
 *
 * Only its writer can open a database in WAL mode without its `-shm`, or with a hot journal. Copied together while nobody
 * writes, which equal figures of `stat` before and after prove, the files make a database that can be recovered and
 * read anywhere. This process must have no connection to the original: closing the copied descriptors would drop its locks.
 */
export class StoppedDatabaseCopies {
  private kept: { readonly path: string; readonly directory: string; readonly figures: string } | null = null;
  /** No copy of changed files is made before this time. */
  private notBefore = 0;
  private figures = '';
  private expiry: NodeJS.Timeout | null = null;

  constructor(private readonly options: ColdCopiesOptions) {
    this.sweep();
  }

  /** A copy of the current files. If none can be made, the cause is added to `reason`, which says why the database is not read in place. */
  getOrCreate(files: FileState, reason: Waiting): Copy {
    if (this.kept !== null && this.kept.figures === files.figures) {
      this.startExpiry();
      return { path: this.kept.path };
    }
    this.drop();
    const paused = files.figures !== this.figures && this.ticks() < this.notBefore;
    if (paused || !isSettled(files, Date.now())) {
      return waiting(reason.state, 'Postern has just stopped; its last rows are about to be read', reason);
    }
    const start = this.ticks();
    try {
      return this.copy(files, reason);
    } catch (error) {
      this.drop();
      const code = codeOf(error);
      if (code === 'ENOENT') return { again: 'a file went away while it was copied' };
      const what = `${reason.message}. Its last rows can't be read from a copy now: ${messageOf(error)}`;
      return waiting(reason.state, what, { code });
    } finally {
      const end = this.ticks();
      this.figures = files.figures;
      this.notBefore = end + PAUSE_FACTOR * (end - start);
    }
  }

  /** Removes the copy. */
  drop(): void {
    if (this.expiry !== null) clearTimeout(this.expiry);
    this.expiry = null;
    if (this.kept === null) return;
    rmSync(this.kept.directory, { recursive: true, force: true });
    this.kept = null;
  }

  private ticks(): number {
    return this.options.ticks?.() ?? performance.now();
  }

  private copy(files: FileState, reason: Waiting): Copy {
    mkdirSync(this.options.directory, { recursive: true, mode: 0o700 });
    const directory = mkdtempSync(join(this.options.directory, PREFIX)); // mode 0700
    const path = join(directory, 'copy.db');
    this.kept = { path, directory, figures: files.figures };
    if (!cloned(files, path)) {
      const obstacle = this.obstacle(files);
      if (obstacle !== null) {
        this.drop();
        return waiting(reason.state, `${reason.message}: ${obstacle}`, { code: reason.code });
      }
      copyFileSync(files.path, path);
    }
    if (files.walSize !== null) copyFileSync(`${files.path}-wal`, `${path}-wal`, constants.COPYFILE_FICLONE);
    if (files.journalSize !== null)
      copyFileSync(`${files.path}-journal`, `${path}-journal`, constants.COPYFILE_FICLONE);
    for (const name of readdirSync(directory)) chmodSync(join(directory, name), 0o600);
    if (files.journalSize !== null && !withoutSuperJournal(`${path}-journal`)) rmSync(`${path}-journal`);
    if (stateOfFiles(this.options.database)?.figures !== files.figures) {
      this.drop();
      return { again: 'the files changed while they were copied' };
    }
    this.startExpiry();
    return { path };
  }

  private obstacle(files: FileState): string | null {
    const bytes = files.size + (files.walSize ?? 0) + (files.journalSize ?? 0);
    if (bytes > (this.options.maxCopy ?? MAX_COPY)) {
      return `at ${megabytes(bytes)} it is too large to copy for its last rows, which wait for its next start`;
    }
    const { bavail, bsize } = statfsSync(this.options.directory);
    // Recovery in the copy may checkpoint the whole WAL.
    if (2 * bytes > bavail * bsize) {
      return `${this.options.directory} has no room for a copy of ${megabytes(bytes)}, so its last rows wait for its next start`;
    }
    return null;
  }

  private startExpiry(): void {
    if (this.expiry !== null) clearTimeout(this.expiry);
    this.expiry = setTimeout(() => this.drop(), KEEP_MS);
    this.expiry.unref();
  }

  /** Removes leftovers of a killed process. */
  private sweep(): void {
    try {
      for (const name of readdirSync(this.options.directory)) {
        if (name.startsWith(PREFIX))
          rmSync(join(this.options.directory, name), { recursive: true, force: true });
      }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT')
        this.options.log.warn(
          { directory: this.options.directory },
          `old copies can't be removed: ${messageOf(error)}`,
        );
    }
  }
}

/** Shares the blocks of a file of any size if the file system supports it. */
function cloned(files: FileState, to: string): boolean {
  if (statSync(join(to, '..'), { bigint: true }).dev !== files.device) return false;
  try {
    copyFileSync(files.path, to, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  }
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
