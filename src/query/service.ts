import { Worker } from 'node:worker_threads';
import { AuditdError } from '../errors.js';
import type { Chunk, Format } from './export.js';
import type { Filter } from './filter.js';
import type { Answer, Answers, Ask } from './messages.js';
import type { QueryOptions } from './origins.js';
import { MOST_PER_PAGE, type PageRequest, type PageResult, type PageText } from './page.js';
import type { Stats } from './tally.js';

export type { PageResult, PageText } from './page.js';

export interface QueryServiceOptions extends QueryOptions {
  /** Milliseconds that a page or stats may take; default 30 s. */
  readonly timeLimit?: number;
  /** How much the thread stands back behind others of this process, as `nice` counts; left out: not at all. */
  readonly nice?: number;
  /** The compiled worker.js, where it is not beside this file. */
  readonly worker?: URL;
}

export type QueryChunk = Chunk;

export type PageOptions = Partial<Pick<PageRequest, 'page' | 'limit' | 'cursor' | 'count' | 'brief'>> & {
  readonly signal?: AbortSignal;
};

export interface StreamOptions {
  readonly signal?: AbortSignal;
  /** A file to write to, open in this process. */
  readonly fd?: number | null;
}

/** Answers queries from a thread of its own. */
export interface QueryService {
  /** @throws AuditdError `USAGE`, `SOURCE_UNUSABLE`, `QUERY_LIMIT`; the signal's reason */
  page(filter: Filter, options?: PageOptions): Promise<PageResult>;
  /** The same as text, made in the thread. @throws as `page` */
  text(filter: Filter, format: Format, options?: PageOptions): Promise<PageText>;
  stats(filter: Filter, options?: { readonly top?: number; readonly signal?: AbortSignal }): Promise<Stats>;
  /**
   * Everything that the filter means, as text, without a limit of time; one chunk is read ahead. With a file to write to, chunks come
   * without their bytes when those are written.
   */
  stream(filter: Filter, format: Format, options?: StreamOptions): AsyncGenerator<QueryChunk, void>;
  close(): Promise<void>;
}

interface Pending {
  readonly resolve: (value: Answers[keyof Answers]) => void;
  readonly reject: (error: Error) => void;
}

const TIME_LIMIT_MS = 30_000;
/** The thread ends a query between two steps by itself; one step that hangs is ended with the thread after this long. */
const GRACE_MS = 2_000;
const DEFAULT_LIMIT = 50;
/** V8's own choice lets an export grow past 200 MB; with 4 MB it takes a third longer. */
const YOUNG_MB = 12;

export function createQueryService(options: QueryServiceOptions): QueryService {
  return new ThreadedQueries(options);
}

class ThreadedQueries implements QueryService {
  private thread: Worker | null = null;
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private readonly timeLimit: number;

  constructor(private readonly options: QueryServiceOptions) {
    this.timeLimit = options.timeLimit ?? TIME_LIMIT_MS;
  }

  async page(filter: Filter, options: PageOptions = {}): Promise<PageResult> {
    const request = this.request(filter, options);
    return this.limited<PageResult>({ id: this.nextId(), kind: 'page', request }, options.signal);
  }

  async text(filter: Filter, format: Format, options: PageOptions = {}): Promise<PageText> {
    const request = this.request(filter, options);
    return this.limited<PageText>({ id: this.nextId(), kind: 'text', request, format }, options.signal);
  }

  async stats(
    filter: Filter,
    { top = 10, signal }: { readonly top?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Stats> {
    const { timeLimit } = this;
    return this.limited<Stats>({ id: this.nextId(), kind: 'stats', filter, top, timeLimit }, signal);
  }

  async *stream(
    filter: Filter,
    format: Format,
    { signal, fd = null }: StreamOptions = {},
  ): AsyncGenerator<QueryChunk, void> {
    const id = this.nextId();
    let next = this.ask<Answers['chunk']>({ id, kind: 'export', filter, format, fd });
    try {
      for (;;) {
        signal?.throwIfAborted();
        const chunk = await next;
        if (chunk === null) return;
        next = this.ask<Answers['chunk']>({ id, kind: 'more' });
        next.catch(() => undefined); // met at the next turn, if there is one
        yield chunk;
      }
    } finally {
      await next.catch(() => undefined);
      if (this.thread !== null) await this.ask({ id, kind: 'end' }).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    const { thread } = this;
    if (thread === null) return;
    this.thread = null;
    const ended = new Promise((done) => thread.once('exit', done));
    thread.postMessage('close');
    const late = setTimeout(() => void thread.terminate(), GRACE_MS);
    await ended;
    clearTimeout(late);
  }

  private request(filter: Filter, options: PageOptions): PageRequest {
    const { page = 1, limit = DEFAULT_LIMIT, cursor = null, count = 'some', brief = null } = options;
    whole('page', page, Number.MAX_SAFE_INTEGER / MOST_PER_PAGE);
    whole('limit', limit, MOST_PER_PAGE);
    return { filter, page, limit, cursor, count, brief, timeLimit: this.timeLimit };
  }

  /** Ended after the limit, or when the signal says so, with the thread if there is no other way. */
  private limited<T extends Answers[keyof Answers]>(ask: Ask, signal: AbortSignal | undefined): Promise<T> {
    signal?.throwIfAborted();
    const late = setTimeout(() => {
      this.end(
        new AuditdError(
          'QUERY_LIMIT',
          `The query took longer than ${this.timeLimit / 1_000} s and was ended. Narrow it down with from and to`,
        ),
      );
    }, this.timeLimit + GRACE_MS);
    const onAbort = () =>
      this.end(signal?.reason instanceof Error ? signal.reason : new Error('the query was called off'));
    signal?.addEventListener('abort', onAbort, { once: true });
    return this.ask<T>(ask).finally(() => {
      clearTimeout(late);
      signal?.removeEventListener('abort', onAbort);
    });
  }

  private ask<T extends Answers[keyof Answers]>(ask: Ask): Promise<T> {
    this.thread ??= this.start();
    const { thread } = this;
    return new Promise<T>((resolve, reject) => {
      this.pending.set(ask.id, { resolve: resolve as Pending['resolve'], reject });
      thread.postMessage(ask);
    });
  }

  private start(): Worker {
    const { worker = new URL('./worker.js', import.meta.url), timeLimit: _, ...data } = this.options;
    const thread = new Worker(worker, {
      workerData: data,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    thread.on('message', (answer: Answer) => {
      const waiting = this.pending.get(answer.id);
      this.pending.delete(answer.id);
      if ('value' in answer) waiting?.resolve(answer.value);
      else if (answer.code === null) waiting?.reject(new Error(answer.message));
      else waiting?.reject(new AuditdError(answer.code, answer.message));
    });
    thread.on('error', (error: Error) => {
      if (this.thread === thread) this.end(error);
    });
    return thread;
  }

  /** The thread works on one thing at a time: whatever waits behind it fails too, and the next query gets a new thread. */
  private end(error: Error): void {
    const { thread } = this;
    this.thread = null;
    void thread?.terminate();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { reject } of waiting) reject(error);
  }

  private nextId(): number {
    this.lastId++;
    return this.lastId;
  }
}

function whole(name: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  throw new AuditdError(
    'USAGE',
    `${name}: found ${value}. Give a whole number from 1 to ${Math.floor(most)}`,
  );
}
