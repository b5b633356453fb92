import { once } from 'node:events';
import { fstatSync, writeFileSync } from 'node:fs';
import { AuditdError, codeOf, messageOf } from '../../errors.js';

const STDOUT = 1;

/**
 * Has everything that is written to standard output be there, or the command end: quietly if the reader has seen enough (`| head`), else by
 * `fail`.
 *
 * Node writes to a file once, and takes a short write (a disk that has just become full) for a whole one.
 */
export function guardStdout(fail: (error: AuditdError) => number): void {
  process.stdout.on('error', (error) => {
    if (codeOf(error) === 'EPIPE') process.exit(0);
    const what = `Standard output can't be written (${messageOf(error)}), and the output so far is incomplete`;
    const next = 'Free disk space there, or write it elsewhere';
    process.exit(fail(new AuditdError('OUTPUT_FAILED', what, { next, cause: error })));
  });
  if (!isFile()) return;
  process.stdout._write = (chunk: Uint8Array, _encoding, done) => {
    try {
      writeFileSync(STDOUT, chunk);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(messageOf(error)));
    }
  };
}

/** Waits until more may be written, or nobody reads any more. Listens for both, and leaves no listener behind: one of the two never comes. */
export async function roomIn(stream: NodeJS.WriteStream): Promise<void> {
  const waited = new AbortController();
  const { signal } = waited;
  try {
    await Promise.race(['drain', 'close'].map((event) => once(stream, event, { signal })));
  } catch {
    // an error of the stream: whoever listens for errors has heard it
  } finally {
    waited.abort();
  }
}

function isFile(): boolean {
  try {
    return fstatSync(STDOUT).isFile();
  } catch {
    return false; // it is closed
  }
}
