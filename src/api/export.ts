import type { QueryChunk } from '../query/service.js';

/**
 * The whole of an export as a stream that reads on only when the client has taken what was sent: memory is that of two chunks,
 * however many entries there are. An error breaks the stream off, so that nobody takes a part for the whole.
 *
 * @param onEnd called once, however it ends
 */
export function exportStream(
  chunks: AsyncGenerator<QueryChunk, void>,
  onEnd: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const parts = bytesOf(chunks);
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
