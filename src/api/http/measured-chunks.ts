import { createHash } from 'node:crypto';

/** The totals of a stream. */
export interface Passed {
  readonly count: number;
  readonly bytes: number;
  readonly sha256: string;
  /** False if the stream was aborted. */
  readonly complete: boolean;
}

/** Passes chunks on, and reports their totals once at the end, unless the stream failed before its first byte. */
export async function* measureChunks<T extends { readonly bytes: Uint8Array; readonly rows: number }>(
  chunks: AsyncIterable<T>,
  onEnd: (passed: Passed) => void,
): AsyncGenerator<T, void> {
  const hash = createHash('sha256');
  let count = 0;
  let bytes = 0;
  let complete = false;
  try {
    for await (const chunk of chunks) {
      hash.update(chunk.bytes);
      bytes += chunk.bytes.length;
      yield chunk;
      count += chunk.rows;
    }
    complete = true;
  } finally {
    if (complete || bytes > 0) onEnd({ count, bytes, sha256: hash.digest('hex'), complete });
  }
}
