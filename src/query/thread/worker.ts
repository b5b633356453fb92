import { readlinkSync, write } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { promisify } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { AuditdError, messageOf } from '../../errors.js';
import { compareFor, compareOn } from '../../retention/archive/comparison-cache.js';
import { QueryEngine } from '../engine.js';
import type { Chunk } from '../export.js';
import type { QueryOptions } from '../query-options.js';
import { type Answers, type Ask, monotonic, type WorkerReply, waitedTooLong } from './thread-protocol.js';

// The thread of queries: whatever a query costs, the one that ships does not pay for it.

interface Export {
  readonly chunks: Generator<Chunk, void>;
  /** A file to write to. */
  readonly fd: number | null;
  /** The chunk that is being written to it. */
  writing: Promise<void>;
}

/** nice(1) knows no lower one. */
const LOWEST = 19;

const { nice, ...options } = workerData as QueryOptions & { readonly nice?: number };
if (nice !== undefined) standBack(nice);
const engine = new QueryEngine(options);
const exports = new Map<number, Export>();
/** Less than what an answer to a client is waited for (service.ts). */
const EXPORT_PATIENCE_MS = 15_000;
const BACKGROUND_MS = 50;
/** What is written to a file is told of so often. */
const TOLD_MS = 100;
const NO_BYTES = new Uint8Array(0);
const writeSome = promisify(write);

/** To Linux a thread is a process with an id of its own: it alone gets less of a busy processor. Where that is not allowed, all goes on. */
function standBack(by: number): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    // From where the process is: only root may go up, and a daemon that runs with nice 10 would go up to 5.
    setPriority(thread, Math.min(LOWEST, getPriority() + by));
  } catch {
    // no /proc, or a filter of system calls
  }
}

function answer(ask: Ask): Answers[keyof Answers] | Promise<Answers['chunk']> {
  if ('until' in ask && monotonic() > ask.until) throw waitedTooLong();
  compareFor(patienceFor(ask));
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
      return ended(ask.id);
  }
}

/** Of the time that an answer may take, so much goes into the comparison of archives. A file waits for them as long as it takes. */
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

/** What queries had no time to wait for; they come between. */
function compareInTheBackground(): void {
  if (compareOn(BACKGROUND_MS)) setTimeout(compareInTheBackground, 0).unref();
}

function next(id: number): Answers['chunk'] | Promise<Answers['chunk']> {
  const one = exports.get(id);
  // It was begun in a thread that is gone: who took this for the end would take a part for the whole.
  if (one === undefined) throw new Error('the export was broken off with its thread');
  if (one.fd !== null) return written(id, one, one.fd);
  const step = one.chunks.next();
  if (step.done === true) return ended(id);
  // A copy, since what is in the buffer is written over.
  return { ...step.value, bytes: step.value.bytes.slice() };
}

/**
 * Writes the chunks that can be made within some time: the thread that asked has nothing to do with the bytes. While one is
 * written, the next is made, and the last one of now while the asker asks for more.
 */
async function written(id: number, one: Export, fd: number): Promise<Answers['chunk']> {
  const until = performance.now() + TOLD_MS;
  const told = { bytes: NO_BYTES, rows: 0, progress: 0, incomplete: null as string | null };
  try {
    do {
      const step = one.chunks.next();
      await one.writing;
      if (step.done === true) return told.rows > 0 || told.incomplete !== null ? told : ended(id);
      one.writing = writeAll(fd, step.value.bytes);
      one.writing.catch(() => undefined); // met where it is waited for
      told.rows += step.value.rows;
      told.progress = step.value.progress;
      told.incomplete = step.value.incomplete ?? null;
    } while (performance.now() < until);
    return told;
  } catch (error) {
    await one.writing.catch(() => undefined); // who hears of an error may close the file
    throw error;
  }
}

async function ended(id: number): Promise<null> {
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

async function tell(ask: Ask): Promise<void> {
  let said: WorkerReply;
  try {
    said = { id: ask.id, value: await answer(ask) };
  } catch (error) {
    exports.delete(ask.id);
    if (error instanceof AuditdError && error.code === 'ARCHIVE_UNREAD') setImmediate(compareInTheBackground);
    said = failure(ask.id, error);
  }
  const bytes = 'value' in said && said.value !== null && 'bytes' in said.value ? said.value.bytes : null;
  const moved = bytes === null || bytes.length === 0 ? [] : [bytes.buffer as ArrayBuffer];
  parentPort?.postMessage(said, moved);
}

parentPort?.on('message', (ask: Ask | 'close') => {
  if (ask === 'close') {
    engine.close();
    parentPort?.close();
  } else void tell(ask);
});
