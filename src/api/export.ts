import type { QueryChunk } from '../query/service.js';
import type { AnswerFormat } from './parameters.js';

const encoder = new TextEncoder();
const NEWLINE = 10;
const COMMA = 44;

/**
 * The whole of an export as a stream that reads on only when the client has taken what was sent: memory is that of two chunks,
 * however many entries there are. An error breaks the stream off, so that nobody takes a part for the whole.
 *
 * @param chunks lines, each with its newline at its end
 * @param onEnd called once, however it ends
 */
export function exportStream(
  chunks: AsyncGenerator<QueryChunk, void>,
  format: AnswerFormat,
  onEnd: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const parts = format === 'json' ? asPage(chunks) : bytesOf(chunks);
  let ended = false;
  const end = (error: unknown) => {
    if (!ended) onEnd(error);
    ended = true;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await parts.next();
          if (done === true) {
            controller.close();
            end(null);
          } else controller.enqueue(value);
        } catch (error) {
          end(error);
          controller.error(error);
        }
      },
      async cancel() {
        end(null);
        await parts.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* bytesOf(chunks: AsyncGenerator<QueryChunk, void>): AsyncGenerator<Uint8Array, void> {
  for await (const { bytes } of chunks) if (bytes.length > 0) yield bytes;
}

/** The same shape as a page: entries first, as their number is known at the end. */
async function* asPage(chunks: AsyncGenerator<QueryChunk, void>): AsyncGenerator<Uint8Array, void> {
  let total = 0;
  yield encoder.encode('{"entries":[');
  for await (const { bytes, rows } of chunks) {
    if (rows === 0) continue;
    yield withCommas(bytes, total === 0);
    total += rows;
  }
  yield encoder.encode(`\n],"page":1,"limit":0,"total":${total},"total_exact":true,"next":null}\n`);
}

/** Lines of JSON as members of a list: a comma stands before each but the very first. */
function withCommas(lines: Uint8Array, first: boolean): Uint8Array {
  let members = 0;
  for (const byte of lines) if (byte === NEWLINE) members++;
  const out = new Uint8Array(lines.length + members);
  let to = 0;
  let from = 0;
  for (let at = lines.indexOf(NEWLINE); at !== -1; at = lines.indexOf(NEWLINE, from)) {
    if (!first || from > 0) out[to++] = COMMA;
    out[to++] = NEWLINE;
    out.set(lines.subarray(from, at), to);
    to += at - from;
    from = at + 1;
  }
  return out.subarray(0, to);
}
