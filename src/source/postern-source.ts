import type Database from 'better-sqlite3';
import type { Logger } from 'pino';
import type { Classifier } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import type { Redactor } from '../audit/redaction.js';
import type { SourceConfig } from '../config/schema.js';
import { StoppedDatabaseCopies } from './copy-stopped-database.js';
import { fingerprintOf } from './event-id.js';
import { type FileState, isSettled, RepeatedLook, realPathOf, stateOfFiles } from './file-state.js';
import { FollowedTable } from './followed-table.js';
import { isCommitting, keepsWriterOut } from './journal-mode.js';
import { PageReader } from './page-reader.js';
import type { RowGuard } from './quarantine.js';
import { readOnce } from './read-in-place.js';
import { type CopyResult, type RetriedRead, readWithRetries } from './read-with-retries.js';
import { RowReader } from './row-to-event.js';
import { UnchangedDatabase } from './skip-unchanged.js';
import {
  type AuditSource,
  type ChangedRows,
  type Edits,
  type EditsRequest,
  type History,
  type KeptRow,
  type PageOfRows,
  type ReadRequest,
  type ReadResult,
  type Replaced,
  type Waiting,
  waiting,
} from './source.js';
import type { TableProblem } from './table-schema.js';
import { committing, waitingFor } from './waiting-reasons.js';
import { type Asking, watchDatabase } from './watch.js';

export interface PosternSourceOptions {
  readonly config: SourceConfig;
  /** Name of this server, for rows without a server name. */
  readonly server: string;
  /** 32 random hex digits, generated once per state.db. */
  readonly sourceId: string;
  readonly classify: Classifier;
  readonly redact: Redactor;
  /** See `RowOptions.guard`. */
  readonly guard?: RowGuard;
  /** See `RowOptions.quarantined`. */
  readonly quarantined?: ReadonlySet<string>;
  readonly history: History;
  /** The directory for copies of a stopped Postern's database. */
  readonly privateDirectory: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: Logger;
  /** Largest database that is copied if blocks can't be shared, bytes. */
  readonly maxCopy?: number;
}

/** Attempts within one read at a file that is being replaced or recovered. */
const TRIES = 4;
/** A lock or a recovery is reported only if it lasts. */
const GRACE_MS = 3_000;
/**
 * A commit changes the files before its rows can be read: the disk sync or a busy processor delays them. `stat` does not show when it is
 * complete, so a change counts as read only after this many polls.
 */
const THROUGH_POLLS = 5;
/** Interval of full reads, even if `stat` shows no change. */
const FULL_READ_MS = 30_000;

/** Cached results for one kind of reader. */
interface Reader {
  /** State of the files before its last read, if that read every row and no change can have been missed since. */
  done: { readonly at: number; readonly figures: string; readonly through: boolean } | null;
  /** The result from the copy of a stopped Postern's files, until they change. */
  cold: {
    readonly figures: string;
    readonly request: string;
    readonly result: ReadResult;
    readonly lastPrint: string;
  } | null;
  /** Whether this kind of reader exists. */
  asked: boolean;
}

/** Reads `audit_log` of Postern's database without ever holding it open. */
export function createPosternSource(options: PosternSourceOptions): AuditSource {
  return new PosternSource(options);
}

class PosternSource implements AuditSource {
  readonly name = 'postern';
  private readonly tables: FollowedTable;
  private readonly reader: PageReader;
  private readonly copies: StoppedDatabaseCopies;
  /** The time of the last successful read, and the highest id then. */
  private last: { readonly at: number; readonly maxId: number } | null = null;
  /** Readers of all pages and readers that follow the head: one may have read everything while the other has not. */
  private readonly readers: Record<'pages' | 'head', Reader> = {
    pages: { done: null, cold: null, asked: true },
    head: { done: null, cold: null, asked: false },
  };

  /** The files of a stopped Postern whose copy was checked for edits. */
  private checked = '';
  private readonly unchanged = new UnchangedDatabase();
  private readonly look: RepeatedLook;

  constructor(private readonly options: PosternSourceOptions) {
    const { config, history, clock, log } = options;
    this.tables = new FollowedTable(config, history, log);
    this.look = new RepeatedLook(config.database);
    const { trusted_proxies: trustedProxies, time_zone: timeZone } = config;
    const rows = new RowReader({ ...options, name: 'postern', trustedProxies, timeZone });
    this.reader = new PageReader(rows, history, clock);
    this.copies = new StoppedDatabaseCopies({
      database: config.database,
      directory: options.privateDirectory,
      log,
      ...(options.maxCopy === undefined ? {} : { maxCopy: options.maxCopy }),
    });
  }

  read(request: ReadRequest): ReadResult {
    const same = this.unchanged.answer(request, () => this.filesNow());
    if (same !== null) return same;
    const now = this.last === null ? null : this.filesNow();
    if (now !== null && isCommitting(now))
      return this.hideBriefLocks(committing(this.options.config.database), request);
    const before = Date.now();
    const attempt = this.attempt(
      (db) => this.readPage(db, request, 'running'),
      (files, reason) => this.readCopy(files, reason, request),
    );
    if (attempt.kind === 'copied') return attempt.value;
    if (attempt.kind === 'waiting') return this.hideBriefLocks(attempt.waiting, request);
    for (const reader of Object.values(this.readers)) reader.cold = null;
    this.copies.drop();
    const result = attempt.value;
    this.remember(result, attempt.files, request);
    this.unchanged.remember(result, attempt.files, before, request);
    return result;
  }

  edits(request: EditsRequest): Edits {
    const work = (db: Database.Database): ChangedRows | Replaced | TableProblem => {
      const table = this.tables.get(db);
      return 'state' in table ? table : this.reader.edits(db, table, request);
    };
    const nothing = { state: 'reading', changed: [], upTo: request.rows.at(-1)?.id ?? 0 } as const;
    const attempt = this.attempt(work, (files, reason): CopyResult<Edits | TableProblem> => {
      // A stopped Postern edits nothing: one check per change of its files is enough.
      if (files.figures === this.checked) return { value: nothing };
      const copy = this.copies.getOrCreate(files, reason);
      if ('again' in copy) return { retry: reason };
      if ('state' in copy) return { value: copy };
      const value = readOnce(copy.path, false, work);
      this.checked = files.figures;
      return { value };
    });
    if (attempt.kind === 'waiting') return attempt.waiting;
    const { value } = attempt;
    return value;
  }

  remade(kept: KeptRow): AuditEvent {
    return this.reader.remade(kept);
  }

  row(id: number, timeline: number): AuditEvent | null {
    const work = (db: Database.Database): AuditEvent | null => {
      const table = this.tables.get(db);
      return 'state' in table ? null : this.reader.row(db, table, id, timeline);
    };
    const attempt = this.attempt(work, (files, reason) => {
      const copy = this.copies.getOrCreate(files, reason);
      return { value: 'path' in copy ? readOnce(copy.path, false, work) : null };
    });
    return attempt.kind === 'waiting' ? null : attempt.value;
  }

  watch(onWake: () => unknown): { close(): void } {
    const { config, log } = this.options;
    const watcher = watchDatabase(
      {
        database: () => realPathOf(config.database),
        pollInterval: config.poll_interval,
        mayHaveChanged: (asks) => this.mayHaveChanged(asks),
        log,
      },
      onWake,
    );
    return {
      close: () => {
        watcher.close();
        this.copies.drop();
      },
    };
  }

  /** Reads in place, with retries while the files change; from a copy if only the writer can open the database. */
  private attempt<T, C>(
    work: (db: Database.Database) => T,
    fromCopy: (files: FileState, waiting: Waiting) => CopyResult<C>,
  ): RetriedRead<T, C> {
    const onMotion = () => this.tables.forget();
    return readWithRetries(this.options.config.database, work, { tries: TRIES, onMotion, fromCopy });
  }

  private readPage(db: Database.Database, request: ReadRequest, postern: PageOfRows['postern']): ReadResult {
    this.unchanged.keepsOut = keepsWriterOut(db);
    const table = this.tables.get(db);
    if ('state' in table) return this.inDatabase(table);
    const found = this.reader.read(db, table, request, postern);
    if ('message' in found) return this.inDatabase(found);
    if (found.state === 'reading' && (found.lastEventId !== null || request.mark.id > 0))
      this.tables.wasRead(table);
    return found;
  }

  private inDatabase(problem: Waiting): Waiting {
    return waiting(problem.state, `${this.options.config.database}: ${problem.what}`, problem);
  }

  private readCopy(files: FileState, reason: Waiting, request: ReadRequest): CopyResult<ReadResult> {
    const known = this.knownResultOfCopy(files, request);
    if (known !== null) {
      this.remember(known, files, request);
      return { value: known };
    }
    const copy = this.copies.getOrCreate(files, reason);
    if ('again' in copy) return { retry: reason };
    if ('state' in copy) {
      this.readerOf(request).done = null;
      this.last = null;
      return { value: copy };
    }
    let result: ReadResult;
    try {
      result = readOnce(copy.path, false, (db) => this.readPage(db, request, 'stopped'));
    } catch (error) {
      result = waitingFor(this.options.config.database, files, error);
    }
    const lastId = result.state === 'reading' ? result.lastEventId : null;
    const lastPrint = lastId === null ? (request.mark.fingerprint ?? '') : fingerprintOf(lastId);
    this.readerOf(request).cold = { figures: files.figures, request: requestKey(request), result, lastPrint };
    if (!this.mayReadOn(files)) this.copies.drop();
    this.remember(result, files, request);
    return { value: result };
  }

  private readerOf({ head }: ReadRequest): Reader {
    const reader = this.readers[head === true ? 'head' : 'pages'];
    reader.asked = true;
    return reader;
  }

  /** True while a reader has not read the copy of these files to its end. */
  private mayReadOn(files: FileState): boolean {
    return Object.values(this.readers).some(({ asked, cold }) => {
      if (!asked) return false;
      return cold?.figures !== files.figures || (cold.result.state === 'reading' && cold.result.more);
    });
  }

  /** The result if the copy was read to its end and the files are unchanged: one copy per change, not per poll. */
  private knownResultOfCopy(files: FileState, request: ReadRequest): ReadResult | null {
    const { cold } = this.readerOf(request);
    if (cold === null || cold.figures !== files.figures) return null;
    const { result } = cold;
    if (result.state !== 'reading') return cold.request === requestKey(request) ? result : null;
    if (result.more || request.after < result.maxId) return null;
    const sameMark = request.mark.id === result.maxId && request.mark.fingerprint === cold.lastPrint;
    const sameRequest = cold.request === requestKey(request) && result.lastEventId === null;
    return sameMark || sameRequest ? { ...result, events: [], lastEventId: null, upTo: request.after } : null;
  }

  private remember(result: ReadResult, files: FileState, request: ReadRequest): void {
    const at = performance.now();
    this.last = result.state === 'reading' ? { at, maxId: result.maxId } : null;
    if (request.before !== undefined) return; // it did not read new rows
    const now = Date.now();
    const complete = result.state === 'reading' && !result.more && isSettled(files, now);
    const through = isSettled(files, now, THROUGH_POLLS * this.options.config.poll_interval);
    this.readerOf(request).done = complete ? { at, figures: files.figures, through } : null;
  }

  /** A commit or a last close may hold the lock for a moment, which must not change the state. */
  private hideBriefLocks(waiting: Waiting, request: ReadRequest): ReadResult {
    this.readerOf(request).done = null;
    const brief = ['locked', 'recovering', 'exclusive'].includes(waiting.state); // a last close, which removes -shm first, is brief, too
    if (!brief || this.last === null || performance.now() - this.last.at > GRACE_MS) {
      this.last = null;
      return waiting;
    }
    const { maxId } = this.last;
    const nothing = {
      events: [],
      lastEventId: null,
      upTo: request.after,
      more: true,
      maxId,
      markDeleted: false,
    };
    return { state: 'reading', postern: 'running', ...nothing };
  }

  /** `stat` of the files shows every commit (inode and size alone do not). A full read is still made now and then. */
  private mayHaveChanged(asks: Asking): boolean {
    const figures = this.seen(() => this.look.look())?.figures;
    return Object.values(this.readers).some(({ asked, done }) => {
      if (!asked) return false;
      if (done === null || performance.now() - done.at > FULL_READ_MS) return true;
      return (asks === 'poll' && !done.through) || figures !== done.figures;
    });
  }

  private filesNow(): FileState | null {
    return this.seen(() => stateOfFiles(this.options.config.database));
  }

  private seen(look: () => FileState | null): FileState | null {
    try {
      return look();
    } catch {
      return null;
    }
  }
}

function requestKey({ mark, after, before }: ReadRequest): string {
  return `${mark.timeline}:${mark.id}:${mark.fingerprint}:${after}:${before ?? ''}`;
}
