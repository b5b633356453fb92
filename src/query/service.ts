import { rmSync } from 'node:fs';
import type { SourceName } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { programFile } from '../installation.js';
import { encodeCursor } from './cursor.js';
import type { Entry } from './entry.js';
import type { Chunk, Format } from './export.js';
import { EVERYTHING, type Filter } from './filter.js';
import { MOST_PER_PAGE, type PageRequest, type PageResult, type PageText } from './page.js';
import { newCopiesDirectory, type QueryOptions } from './query-options.js';
import type { Stats } from './stats.js';
import { type Answers, type Ask, monotonic } from './thread/thread-protocol.js';
import { QueryThread } from './thread/worker-thread.js';

export type { PageResult, PageText } from './page.js';

export interface QueryServiceOptions extends QueryOptions {
  /** Milliseconds that a page or stats may take; default 30 s. */
  readonly timeLimit?: number;
  /** How much lower the thread's priority is than that of the process, in steps of `nice`; omitted: the same priority. */
  readonly nice?: number;
  /** The compiled worker.js, where it is not that of the program. */
  readonly worker?: URL;
}

export type QueryChunk = Chunk;

export type PageOptions = Partial<Pick<PageRequest, 'page' | 'limit' | 'cursor' | 'count' | 'brief'>> & {
  readonly signal?: AbortSignal;
};

interface StreamOptions {
  readonly signal?: AbortSignal;
  /** A file to write to, open in this process. */
  readonly fd?: number | null;
}

/** Answers queries from a thread of its own. */
export interface QueryService {
  /** @throws AuditdError `USAGE`, `SOURCE_UNUSABLE`, `QUERY_LIMIT`; the signal's reason */
  page(filter: Filter, options?: PageOptions): Promise<PageResult>;
  /** A page as text, made in the thread. @throws as `page` */
  text(filter: Filter, format: Format, options?: PageOptions): Promise<PageText>;
  stats(filter: Filter, options?: { readonly top?: number; readonly signal?: AbortSignal }): Promise<Stats>;
  /**
   * Exports all matching entries as text, without a time limit; one chunk is read ahead. With a file to write to, a chunk comes without
   * bytes once they are written.
   */
  stream(filter: Filter, format: Format, options?: StreamOptions): AsyncGenerator<QueryChunk, void>;
  close(): Promise<void>;
}

const TIME_LIMIT_MS = 30_000;
/** The thread itself stops a query between two steps. A single step that hangs is stopped with the thread after this long. */
const GRACE_MS = 2_000;
/** Time limits that a query may wait behind others: a connection on which nothing moves is closed after three (api/http/listener.ts). */
const WAIT = 2;
const DEFAULT_LIMIT = 50;
/** On a busy processor, the thread that delivers events gets three times as much time as a query thread. */
const NICE = 5;

export function createQueryService(options: QueryServiceOptions): QueryService {
  return new ThreadedQueries(options);
}

/**
 * Two threads: one for pages that indexes answer, one for queries that read many rows. So an export, or a text search in ten million
 * rows, does not delay a user who pages through the log.
 */
export function createPooledQueries(options: QueryServiceOptions): QueryService {
  const pageThread = createQueryService({ nice: NICE, ...options });
  const scanThread = createQueryService({ nice: NICE, ...options });
  return {
    page: (filter, more) => (filter.q === null ? pageThread : scanThread).page(filter, more),
    text: (filter, format, more) => (filter.q === null ? pageThread : scanThread).text(filter, format, more),
    stats: (filter, more) => scanThread.stats(filter, more),
    stream: (filter, format, more) => scanThread.stream(filter, format, more),
    async close() {
      await Promise.all([pageThread.close(), scanThread.close()]);
    },
  };
}

/** Finds one entry by source and row id, in the archives if the table no longer has it; null if it does not exist. */
export async function findEntry(
  queries: Pick<QueryService, 'page'>,
  source: SourceName,
  id: number,
): Promise<Entry | null> {
  if (id >= Number.MAX_SAFE_INTEGER) return null;
  for (const archives of [false, true]) {
    const filter = { ...EVERYTHING, source, archives };
    const cursor = encodeCursor(filter, { [source]: { before: id + 1, snapshot: id } });
    const { entries } = await queries.page(filter, { cursor, limit: 1, count: 'none' });
    const found = entries.find((entry) => entry.id === `${source}:${id}`);
    if (found !== undefined) return found;
  }
  return null;
}

class ThreadedQueries implements QueryService {
  private readonly thread: QueryThread;
  private lastId = 0;
  private readonly timeLimit: number;
  private readonly wait: number;
  /** The same for each thread, so that a new thread reuses the copies of one that was stopped. */
  private readonly copies: string;

  constructor(options: QueryServiceOptions) {
    const { worker = programFile('query/thread/worker.js'), timeLimit = TIME_LIMIT_MS, ...data } = options;
    this.timeLimit = timeLimit;
    this.wait = WAIT * timeLimit;
    this.copies = data.copies ?? newCopiesDirectory();
    this.thread = new QueryThread({ worker, data: { ...data, copies: this.copies } });
  }

  async page(filter: Filter, options: PageOptions = {}): Promise<PageResult> {
    const request = this.request(filter, options);
    return this.limited<PageResult>(
      { id: this.nextId(), kind: 'page', request, until: this.until() },
      options.signal,
    );
  }

  async text(filter: Filter, format: Format, options: PageOptions = {}): Promise<PageText> {
    const request = this.request(filter, options);
    return this.limited<PageText>(
      { id: this.nextId(), kind: 'text', request, format, until: this.until() },
      options.signal,
    );
  }

  async stats(
    filter: Filter,
    { top = 10, signal }: { readonly top?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Stats> {
    const { timeLimit } = this;
    const until = this.until();
    return this.limited<Stats>({ id: this.nextId(), kind: 'stats', filter, top, timeLimit, until }, signal);
  }

  async *stream(
    filter: Filter,
    format: Format,
    { signal, fd = null }: StreamOptions = {},
  ): AsyncGenerator<QueryChunk, void> {
    const id = this.nextId();
    // A step is short, but writing to a file takes what the disk takes.
    const within = fd === null ? this.wait + GRACE_MS : null;
    let next = this.thread.ask<Answers['chunk']>({ id, kind: 'export', filter, format, fd }, { within });
    try {
      for (;;) {
        signal?.throwIfAborted();
        const chunk = await next;
        if (chunk === null) return;
        next = this.thread.ask<Answers['chunk']>({ id, kind: 'more' }, { within });
        next.catch(() => undefined); // handled in the next turn, if there is one
        yield chunk;
      }
    } finally {
      await next.catch(() => undefined);
      if (this.thread.isRunning) {
        await this.thread.ask({ id, kind: 'end' }, { within: null }).catch(() => undefined);
      }
    }
  }

  async close(): Promise<void> {
    await this.thread.close();
    rmSync(this.copies, { recursive: true, force: true });
  }

  private request(filter: Filter, options: PageOptions): PageRequest {
    const { page = 1, limit = DEFAULT_LIMIT, cursor = null, count = 'some', brief = null } = options;
    whole('page', page, Number.MAX_SAFE_INTEGER / MOST_PER_PAGE);
    whole('limit', limit, MOST_PER_PAGE);
    return { filter, page, limit, cursor, count, brief, timeLimit: this.timeLimit };
  }

  private limited<T extends Answers[keyof Answers]>(ask: Ask, signal: AbortSignal | undefined): Promise<T> {
    return this.thread.ask<T>(ask, { within: this.timeLimit + GRACE_MS, wait: this.wait, signal });
  }

  /** The latest start: after that nobody waits for the answer. */
  private until(): number {
    return monotonic() + this.wait;
  }

  private nextId(): number {
    this.lastId++;
    return this.lastId;
  }
}

function whole(name: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  throw new AuditdError('USAGE', `${name}: found ${value}`, {
    next: `Give a whole number from 1 to ${Math.floor(most)}`,
  });
}
