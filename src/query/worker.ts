import { parentPort, workerData } from 'node:worker_threads';
import { AuditdError, messageOf } from '../errors.js';
import { type Chunk, Engine } from './engine.js';
import type { Answer, Answers, Ask } from './messages.js';
import type { QueryOptions } from './origins.js';

// The thread of queries: whatever a query costs, the one that ships does not pay for it.

const engine = new Engine(workerData as QueryOptions);
const exports = new Map<number, Generator<Chunk, void>>();
const encoder = new TextEncoder();

function answer(ask: Ask): Answers[keyof Answers] {
  switch (ask.kind) {
    case 'page':
      return engine.page(ask.request);
    case 'stats':
      return engine.stats(ask.filter, ask.top, ask.timeLimit);
    case 'export':
      exports.set(ask.id, engine.export(ask.filter, ask.format));
      return next(ask.id);
    case 'more':
      return next(ask.id);
    case 'end':
      exports.delete(ask.id);
      return null;
  }
}

function next(id: number): Answers['chunk'] {
  const step = exports.get(id)?.next();
  if (step === undefined || step.done === true) {
    exports.delete(id);
    return null;
  }
  const { text, rows, progress } = step.value;
  return { bytes: encoder.encode(text), rows, progress };
}

parentPort?.on('message', (ask: Ask | 'close') => {
  if (ask === 'close') {
    engine.close();
    parentPort?.close();
    return;
  }
  let said: Answer;
  try {
    said = { id: ask.id, value: answer(ask) };
  } catch (error) {
    exports.delete(ask.id);
    said = { id: ask.id, code: error instanceof AuditdError ? error.code : null, message: messageOf(error) };
  }
  const bytes = 'value' in said && said.value !== null && 'bytes' in said.value ? said.value.bytes : null;
  parentPort?.postMessage(said, bytes === null ? [] : [bytes.buffer as ArrayBuffer]);
});
