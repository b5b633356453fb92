import { once } from 'node:events';
import { fstatSync, writeFileSync } from 'node:fs';
import { AuditdError, codeOf, messageOf } from '../../errors.js';

const STDOUT = 1;

/**
 * Ends the command when standard output can't be written: quietly if the reader has closed the pipe (`| head`), else by `fail`.
 *
 * Node writes to a file once, and mistakes a short write (a disk that has just become full) for a complete one.
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

/** Waits until the stream accepts more or is closed. Removes both listeners, since one of the events never occurs. */
export async function roomIn(stream: NodeJS.WriteStream): Promise<void> {
  const waited = new AbortController();
  const { signal } = waited;
  try {
    await Promise.race(['drain', 'close'].map((event) => once(stream, event, { signal })));
  } catch {
    // an error of the stream, which its error listener handles
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
