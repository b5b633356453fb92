import { Worker } from 'node:worker_threads';
import { AuditdError } from '../../errors.js';
import type { QueryOptions } from '../query-options.js';
import { type Answers, type Ask, type WorkerReply, waitedTooLong } from './thread-protocol.js';

export interface QueryThreadOptions {
  /** The compiled worker.js. */
  readonly worker: URL;
  readonly data: QueryOptions & { readonly nice?: number };
}

export interface AskOptions {
  /** Milliseconds of work after which the query counts as hung and is stopped with the thread; null: it is not watched. */
  readonly within: number | null;
  /** Milliseconds that the query may wait before it starts; omitted: no limit. */
  readonly wait?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly ask: Ask;
  readonly within: number | null;
  readonly resolve: (value: Answers[keyof Answers]) => void;
  readonly reject: (error: Error) => void;
  waiting: NodeJS.Timeout | undefined;
  /** The caller has got an error; the thread may still reach the query. */
  over: boolean;
}

/** With V8's default, an export grows past 200 MB; with 4 MB, it takes a third longer. */
const YOUNG_MB = 12;
/** How long a thread may take to finish its current step when it is closed. */
const CLOSE_MS = 2_000;

/**
 * A query thread and its queue. It handles one query after the other, so only the first can hang it. Only that one is watched, from the
 * moment it became the first.
 */
export class QueryThread {
  private worker: Worker | null = null;
  /** In the order in which the thread takes them. */
  private readonly pending = new Map<number, Pending>();
  private watched: Pending | null = null;
  private watchdog: NodeJS.Timeout | undefined;
  /** Exports that have not ended: they end with the thread. */
  private readonly exports = new Set<number>();

  constructor(private readonly options: QueryThreadOptions) {}

  get isRunning(): boolean {
    return this.worker !== null;
  }

  /** @throws errors of the query; AuditdError `QUERY_LIMIT`; the signal's reason */
  async ask<T extends Answers[keyof Answers]>(ask: Ask, options: AskOptions): Promise<T> {
    const { within, wait, signal } = options;
    signal?.throwIfAborted();
    const answered = new Promise<T>((resolve, reject) => {
      const one: Pending = {
        ask,
        within,
        resolve: resolve as Pending['resolve'],
        reject,
        waiting: undefined,
        over: false,
      };
      if (ask.kind === 'export') this.exports.add(ask.id);
      if (ask.kind === 'end') this.exports.delete(ask.id);
      if (this.pending.size > 0 && wait !== undefined) {
        one.waiting = setTimeout(() => rejectPending(one, waitedTooLong()), wait);
      }
      this.post(one);
    });
    const cancel = () => this.cancel(ask.id, reasonOf(signal));
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await answered;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Waits for the current step of the thread, for a limited time. */
  async close(): Promise<void> {
    const { worker } = this;
    if (worker === null) return;
    this.worker = null;
    const asked = [...this.pending.values()];
    const ended = new Promise((done) => worker.once('exit', done));
    worker.postMessage('close');
    const late = setTimeout(() => void worker.terminate(), CLOSE_MS);
    await ended;
    clearTimeout(late);
    for (const one of asked) if (this.takePending(one.ask.id) !== null) rejectPending(one, cancelled());
  }

  private post(one: Pending): void {
    this.worker ??= this.start();
    this.pending.set(one.ask.id, one);
    this.watch();
    this.worker.postMessage(one.ask);
  }

  private start(): Worker {
    const worker = new Worker(this.options.worker, {
      workerData: this.options.data,
      // Closed with the thread, the descriptors of source/read-in-place.ts would drop the locks of other threads.
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    worker.on('message', (answer: WorkerReply) => {
      const one = this.takePending(answer.id);
      if (one === null) return;
      clearTimeout(one.waiting);
      if ('value' in answer) one.resolve(answer.value);
      else if (answer.code === null) one.reject(new Error(answer.message));
      else one.reject(new AuditdError(answer.code, answer.message, { next: answer.next }));
    });
    const lost = (error: Error) => {
      if (this.worker !== worker) return;
      for (const one of this.abandonThread()) rejectPending(one, error);
    };
    worker.on('error', lost);
    worker.on('exit', () => lost(new Error('the thread of queries has ended')));
    return worker;
  }

  private takePending(id: number): Pending | null {
    const one = this.pending.get(id) ?? null;
    this.pending.delete(id);
    this.watch();
    return one;
  }

  private watch(): void {
    const [first = null] = this.pending.values();
    if (first === this.watched) return;
    clearTimeout(this.watchdog);
    this.watched = first;
    if (first === null || first.within === null) return;
    clearTimeout(first.waiting);
    const { within } = first;
    // An answer that arrived while this thread was busy is handled first.
    this.watchdog = setTimeout(() => setImmediate(() => this.onHang(first, within)), within);
  }

  private onHang(one: Pending, within: number): void {
    if (this.watched !== one || this.worker === null) return;
    const seconds = within / 1_000;
    this.end(
      one,
      new AuditdError('QUERY_LIMIT', `The query took longer than ${seconds} s and was stopped`, {
        next: 'Narrow it down with from and to',
      }),
    );
  }

  /** Stops the thread only if it works on this query or has no other work: other callers wait for their answers. */
  private cancel(id: number, reason: Error): void {
    const one = this.pending.get(id);
    if (one === undefined) return;
    const isAlone = this.pending.size === 1 && this.exports.size === 0;
    if (this.watched === one || isAlone) this.end(one, reason);
    else rejectPending(one, reason);
  }

  /** Stops the thread with one query. Queries that waited behind it move to a new thread; exports that have begun can't. */
  private end(culprit: Pending, error: Error): void {
    for (const one of this.abandonThread()) {
      const { kind } = one.ask;
      if (one === culprit) rejectPending(one, error);
      else if (kind === 'more' || kind === 'end') rejectPending(one, cancelled());
      else if (!one.over) this.post(one);
    }
  }

  /** Stops the thread. @returns the queries that it has not answered */
  private abandonThread(): Pending[] {
    const { worker } = this;
    this.worker = null;
    worker?.removeAllListeners('message');
    void worker?.terminate();
    const left = [...this.pending.values()];
    this.pending.clear();
    this.watch();
    return left;
  }
}

function rejectPending(one: Pending, error: Error): void {
  clearTimeout(one.waiting);
  one.over = true;
  one.reject(error);
}

function reasonOf(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : cancelled();
}

function cancelled(): Error {
  return new Error('the query was cancelled');
}
