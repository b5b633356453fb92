import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { QueryEngine } from '../../../src/query/engine.js';
import { EVERYTHING } from '../../../src/query/filter.js';
import { createQueryService, type QueryService } from '../../../src/query/service.js';
import { monotonic } from '../../../src/query/thread/thread-protocol.js';
import { compiled, removeCompiled } from '../../support/compiled.js';
import { Tables } from '../tables.js';

/** Takes as long as it is told, and answers exports in five chunks; what it was at is kept from all others, as in the real one. */
const STUB = `
import { parentPort } from 'node:worker_threads';
const cell = new Int32Array(new SharedArrayBuffer(4));
const exports = new Map();
const chunk = (id) => {
  const left = exports.get(id);
  if (left === undefined) throw new Error('no such export');
  exports.set(id, left - 1);
  return left === 0 ? null : { bytes: new Uint8Array(1), rows: 1, progress: 0 };
};
const answer = ({ id, kind, request }) => {
  if (kind === 'export') exports.set(id, 5);
  if (kind === 'export' || kind === 'more') return chunk(id);
  if (kind === 'end') return null;
  Atomics.wait(cell, 0, 0, request.filter.q === 'hang' ? 600_000 : Number(request.filter.q));
  if (request.filter.q === '0') throw new Error('it fails');
  return { entries: [], page: 1 };
};
parentPort.on('message', (ask) => {
  if (ask === 'close') parentPort.close();
  else try {
    parentPort.postMessage({ id: ask.id, value: answer(ask) });
  } catch ({ message }) {
    parentPort.postMessage({ id: ask.id, code: null, message });
  }
});`;

let tables: Tables;
let directory: string;
beforeAll(() => {
  tables = new Tables();
  directory = mkdtempSync(join(tmpdir(), 'postern-thread-'));
  writeFileSync(join(directory, 'stub.mjs'), STUB);
});
afterAll(() => {
  tables.remove();
  rmSync(directory, { recursive: true });
  removeCompiled();
});

describe('queued queries', () => {
  let service: QueryService;
  const LIMIT = 500;
  beforeEach(async () => {
    const worker = pathToFileURL(join(directory, 'stub.mjs'));
    service = createQueryService({ ...tables.options(), worker, timeLimit: LIMIT });
    await query(1); // until the thread is there: who waits behind others is told after a second
  });
  afterEach(() => service.close());
  /** Takes so many milliseconds. */
  const query = (q: number | 'hang', signal?: AbortSignal) =>
    service.page({ ...EVERYTHING, q: String(q) }, signal === undefined ? {} : { signal });
  const outcome = (asked: Promise<unknown>) =>
    asked.then(
      () => 'answered',
      (error: Error) => error.message,
    );
  /** Each row when the one before has been dealt with. */
  async function exported(pause: number): Promise<string> {
    let rows = 0;
    try {
      for await (const chunk of service.stream(EVERYTHING, 'ndjson')) {
        rows += chunk.rows;
        await sleep(pause);
      }
      return `all ${rows}`;
    } catch (error) {
      return `broken off after ${rows}: ${(error as Error).message}`;
    }
  }

  it('queued queries have a time limit each: none is stopped because of those before it, nor is an export', async () => {
    const all = [exported(50), ...Array.from({ length: 12 }, () => outcome(query(230)))];
    const [whole, ...answers] = await Promise.all(all);
    expect(whole).toBe('all 5');
    expect(answers[0]).toBe('answered');
    // Twice the limit is as long as anybody waits; who has waited so long is told, and harms no other.
    expect(new Set(answers)).toEqual(new Set(['answered', expect.stringMatching(/waited too long/)]));
  });

  it('queued queries are stopped with the thread if they hang; those after them are answered by a new thread', async () => {
    const hung = outcome(query('hang'));
    const behind = [outcome(query(1)), outcome(query(0))];
    await sleep(2_000); // waits so long in vain that it is told
    const later = outcome(query(2));
    expect(await hung).toMatch(/^The query took longer than 2.5 s and was stopped/);
    expect(await Promise.all(behind)).toEqual([
      expect.stringMatching(/waited too long/),
      expect.stringMatching(/waited too long/),
    ]);
    expect(await later).toBe('answered');
  });

  it('queued queries report a running export as aborted, never as complete, if its thread is stopped', async () => {
    const slow = exported(3_000); // at the first row while the thread goes, with the second read ahead
    await sleep(300);
    const hung = outcome(query('hang'));
    expect(await hung).toMatch(/^The query took longer/);
    expect(await outcome(query(1))).toBe('answered');
    expect(await slow).toMatch(/^broken off after [12]: /);
  });

  it('queued queries can be cancelled one by one while they wait', async () => {
    const call = new AbortController();
    const whole = exported(20);
    const first = outcome(query(300));
    const second = outcome(query(1, call.signal));
    call.abort(new Error('gone'));
    expect(await Promise.all([first, second, whole])).toEqual(['answered', 'gone', 'all 5']);
  });

  it('queued queries are answered or get an error when the service is closed', async () => {
    const hung = outcome(query('hang'));
    await service.close();
    expect(await hung).toMatch(/was cancelled/);
  });
});

describe('the worker thread', () => {
  async function told(ask: object): Promise<unknown> {
    const worker = new Worker(pathToFileURL(join(compiled(), 'query/thread/worker.js')), {
      workerData: tables.options(),
    });
    try {
      return await new Promise((resolve) => {
        worker.once('message', resolve);
        worker.postMessage(ask);
      });
    } finally {
      await worker.terminate();
    }
  }

  it('the worker thread does not start queries that waited too long', async () => {
    const request = {
      filter: EVERYTHING,
      page: 1,
      limit: 1,
      cursor: null,
      count: 'none',
      brief: null,
      timeLimit: 1,
    };
    const [ask, now] = [{ id: 1, kind: 'page', request }, monotonic()];
    expect(await told({ ...ask, until: now - 1 })).toMatchObject({ id: 1, code: 'QUERY_LIMIT' });
    expect(await told({ ...ask, until: now + 600_000 })).toMatchObject({ id: 1, value: { entries: [] } });
  });

  it('the worker thread returns an error for an export that it does not know', async () => {
    expect(await told({ id: 7, kind: 'more' })).toMatchObject({
      id: 7,
      message: expect.stringMatching(/was aborted/),
    });
  });

  it('the worker thread pauses an export without matches, so that others get their turn', () => {
    tables.insert(Array.from({ length: 2_000 }, () => ({ action: 'update' })));
    const engine = new QueryEngine(tables.options());
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 50;
      return now;
    });
    try {
      const chunks = [...engine.export({ ...EVERYTHING, q: 'not there' }, 'ndjson')];
      expect(chunks.length).toBeGreaterThan(3);
      expect(chunks.map(({ rows, bytes }) => rows + bytes.length)).toEqual(chunks.map(() => 0));
    } finally {
      clock.mockRestore();
      engine.close();
    }
  });
});
