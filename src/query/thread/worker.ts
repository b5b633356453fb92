import { readlinkSync, write } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { promisify } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { AuditdError, messageOf } from '../../errors.js';
import { continueComparison, limitComparison } from '../../retention/archive/comparison-cache.js';
import { QueryEngine } from '../engine.js';
import type { Chunk } from '../export.js';
import type { QueryOptions } from '../query-options.js';
import { type Answers, type Ask, monotonic, type WorkerReply, waitedTooLong } from './thread-protocol.js';

// The query thread: an expensive query does not slow down the thread that delivers events.

interface Export {
  readonly chunks: Generator<Chunk, void>;
  /** A file to write to. */
  readonly fd: number | null;
  /** The chunk that is being written to it. */
  writing: Promise<void>;
}

/** The lowest priority that nice(1) accepts. */
const LOWEST = 19;

const { nice, ...options } = workerData as QueryOptions & { readonly nice?: number };
if (nice !== undefined) lowerPriority(nice);
const engine = new QueryEngine(options);
const exports = new Map<number, Export>();
/** Shorter than the time that service.ts waits for an answer. */
const EXPORT_PATIENCE_MS = 15_000;
const BACKGROUND_MS = 50;
/** Interval of progress reports of an export to a file. */
const REPORT_MS = 100;
const NO_BYTES = new Uint8Array(0);
const writeSome = promisify(write);

/** On Linux, a thread has a process id of its own, so this thread alone gets less of a busy processor. A failure is ignored. */
function lowerPriority(by: number): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    // Relative to the process: only root may raise a priority, and 5 would raise that of a daemon with nice 10.
    setPriority(thread, Math.min(LOWEST, getPriority() + by));
  } catch {
    // no /proc, or a system call filter
  }
}

function answer(ask: Ask): Answers[keyof Answers] | Promise<Answers['chunk']> {
  if ('until' in ask && monotonic() > ask.until) throw waitedTooLong();
  limitComparison(patienceFor(ask));
  switch (ask.kind) {
    case 'page':
      return engine.page(ask.request);
    case 'text':
      return engine.text(ask.request, ask.format);
    case 'stats':
      return engine.stats(ask.filter, ask.top, ask.timeLimit);
    case 'export':
      exports.set(ask.id, {
        chunks: engine.export(ask.filter, ask.format),
        fd: ask.fd,
        writing: Promise.resolve(),
      });
      return next(ask.id);
    case 'more':
      return next(ask.id);
    case 'end':
      return endExport(ask.id);
  }
}

/** How much of a query's time may go into the comparison of archives; null for an export to a file, which waits without a limit. */
function patienceFor(ask: Ask): number | null {
  switch (ask.kind) {
    case 'page':
    case 'text':
      return ask.request.timeLimit / 2;
    case 'stats':
      return ask.timeLimit / 2;
    case 'export':
      return ask.fd === null ? EXPORT_PATIENCE_MS : null;
    default:
      return exports.get(ask.id)?.fd === null ? EXPORT_PATIENCE_MS : null;
  }
}

/** Continues the comparison that queries had no time for. Queries run between its steps. */
function compareInTheBackground(): void {
  if (continueComparison(BACKGROUND_MS)) setTimeout(compareInTheBackground, 0).unref();
}

function next(id: number): Answers['chunk'] | Promise<Answers['chunk']> {
  const one = exports.get(id);
  // The export began in a thread that was stopped. Reporting an end here would pass off a part as the whole.
  if (one === undefined) throw new Error('the export was aborted with its thread');
  if (one.fd !== null) return writeChunks(id, one, one.fd);
  const step = one.chunks.next();
  if (step.done === true) return endExport(id);
  // A copy, since the buffer is reused for the next chunk.
  return { ...step.value, bytes: step.value.bytes.slice() };
}

/**
 * Writes the chunks that can be created within a time limit, so that the calling thread does not handle the bytes. While one chunk is
 * written, the next is created.
 */
async function writeChunks(id: number, one: Export, fd: number): Promise<Answers['chunk']> {
  const until = performance.now() + REPORT_MS;
  const report = { bytes: NO_BYTES, rows: 0, progress: 0, incomplete: null as string | null };
  try {
    do {
      const step = one.chunks.next();
      await one.writing;
      if (step.done === true) return report.rows > 0 || report.incomplete !== null ? report : endExport(id);
      one.writing = writeAll(fd, step.value.bytes);
      one.writing.catch(() => undefined); // handled where it is awaited
      report.rows += step.value.rows;
      report.progress = step.value.progress;
      report.incomplete = step.value.incomplete ?? null;
    } while (performance.now() < until);
    return report;
  } catch (error) {
    await one.writing.catch(() => undefined); // the caller may close the file on an error
    throw error;
  }
}

async function endExport(id: number): Promise<null> {
  const writing = exports.get(id)?.writing;
  exports.delete(id);
  await writing;
  return null;
}

function failure(id: number, error: unknown): WorkerReply {
  if (error instanceof AuditdError) return { id, code: error.code, message: error.what, next: error.next };
  return { id, code: null, message: messageOf(error), next: null };
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await writeSome(fd, bytes, at)).bytesWritten;
}

async function reply(ask: Ask): Promise<void> {
  let answered: WorkerReply;
  try {
    answered = { id: ask.id, value: await answer(ask) };
  } catch (error) {
    exports.delete(ask.id);
    if (error instanceof AuditdError && error.code === 'ARCHIVE_UNREAD') setImmediate(compareInTheBackground);
    answered = failure(ask.id, error);
  }
  const bytes =
    'value' in answered && answered.value !== null && 'bytes' in answered.value ? answered.value.bytes : null;
  const moved = bytes === null || bytes.length === 0 ? [] : [bytes.buffer as ArrayBuffer];
  parentPort?.postMessage(answered, moved);
}

parentPort?.on('message', (ask: Ask | 'close') => {
  if (ask === 'close') {
    engine.close();
    parentPort?.close();
  } else void reply(ask);
});
