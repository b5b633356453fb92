import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { readLegalHolds } from '../../src/retention/legal-holds.js';
import { RunThread } from '../../src/retention/thread.js';
import type { RunData } from '../../src/retention/thread-protocol.js';
import { temporaryDirectory } from '../source/postern-fixture.js';
import { Writer } from '../source/process.js';

/** A thread that sends these messages at once and keeps running. */
function threadSaying(said: readonly object[], onPurged: () => void): RunThread {
  return threadOf(
    `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', () => undefined);
    for (const said of ${JSON.stringify(said)}) parentPort.postMessage(said);`,
    onPurged,
  );
}

function threadOf(code: string, onPurged: () => void = () => undefined): RunThread {
  return new RunThread({
    data: {} as RunData,
    onProgress: () => undefined,
    onArchived: () => undefined,
    onDeleted: () => undefined,
    onPurged,
    onPurging: () => undefined,
    onSettled: () => undefined,
    onAnchor: onPurged,
    onBaseline: onPurged,
    onExpired: async () => {
      onPurged();
      return null;
    },
    deleteOwn: () => {
      throw new Error('disk I/O error');
    },
    worker: new URL(`data:text/javascript,${encodeURIComponent(code)}`),
  });
}

describe('the thread of a run', () => {
  it.each<[string, object[]]>([
    ['its note', [{ purged: { sequence: 1, sha256: 'a' } }]],
    [
      'its note, just before its end',
      [{ purged: { sequence: 1, sha256: 'a' } }, { outcome: { kind: 'run' } }],
    ],
    ['deletions in state.db', [{ own: [[1, 'a']] }]],
  ])('a run fails with the error of state.db about %s, and its thread ends', async (_, said) => {
    const thread = threadSaying(said, () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100); // until all messages are sent
      throw new Error('disk I/O error');
    });
    await expect(thread.outcome).rejects.toMatchObject({
      code: 'STATE_UNUSABLE',
      message: expect.stringMatching(/disk I\/O error.*the next run resumes this one/) as string,
    });
    await thread.stop('for the test'); // returns, because the thread has ended
  });

  it('a run fails with the error of a legal hold record that goes missing', async () => {
    const thread = threadSaying([{ purged: {} }], () => {
      readLegalHolds('/nowhere', [{ number: 1, sha256: 'f'.repeat(64) }]);
    });
    await expect(thread.outcome).rejects.toMatchObject({
      code: 'ARCHIVE_BROKEN',
      message: expect.stringMatching(/^\/nowhere\/900000000001-hold.*missing.*--put-back/) as string,
    });
    await thread.stop('for the test');
  });

  it('a failed run keeps the code, the cause and the next step of its error', async () => {
    const failed = { code: 'ARCHIVE_FAILED', what: '/srv/p. x has 3 MiB left', next: 'Make room there' };
    const thread = threadSaying([{ failed }], () => undefined);
    const message = '/srv/p. x has 3 MiB left. Make room there';
    await expect(thread.outcome).rejects.toMatchObject({ ...failed, message });
    await thread.stop('for the test');
  });

  it("the end of a run's thread drops no lock of another thread", async () => {
    const database = join(temporaryDirectory(onTestFinished), 'a.db');
    const postern = await new Writer(database).open('delete');
    onTestFinished(() => postern.kill());
    await postern.exec('PRAGMA busy_timeout = 0; CREATE TABLE t (a)');
    const reader = new Database(database, { readonly: true });
    onTestFinished(() => void reader.close());
    reader.exec('BEGIN; SELECT a FROM t');
    const code = `import { openSync } from 'node:fs'; openSync(${JSON.stringify(database)});`;
    await expect(threadOf(code).outcome).rejects.toThrow('ended');
    await expect(postern.exec('BEGIN EXCLUSIVE')).rejects.toThrow('SQLITE_BUSY');
  });

  it('an unresponsive run thread is terminated on request', async () => {
    const thread = threadSaying([], () => undefined);
    await thread.stop('for the test');
    await expect(thread.outcome).rejects.toThrow('for the test');
  });
});
