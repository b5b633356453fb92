import { AuditdError } from '../errors.js';
import type { QueryChunk } from '../query/service.js';

export interface ExportStreamOptions {
  /** Asked before each chunk: whether who asked may still have it. */
  readonly hasAccess: () => boolean;
  /** The export goes on, and has nothing to send: it looks for a few rows among millions. */
  readonly onQuiet: () => void;
  /** Called once, however it ends. */
  readonly onEnd: (error: unknown) => void;
}

/**
 * The whole of an export as a stream that reads on only when the client has taken what was sent: memory is that of two chunks,
 * however many entries there are. An error breaks the stream off, so that nobody takes a part for the whole.
 */
export class ExportStream {
  readonly stream: ReadableStream<Uint8Array>;
  private ended = false;

  private constructor(
    private readonly chunks: AsyncGenerator<QueryChunk, void>,
    private first: IteratorResult<QueryChunk, void> | null,
    private readonly options: ExportStreamOptions,
  ) {
    this.stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.pull(controller), cancel: () => this.stop() },
      { highWaterMark: 0 },
    );
  }

  /** Waits for the first chunk: what fails before it can still be told. @throws as the chunks */
  static async begin(
    chunks: AsyncGenerator<QueryChunk, void>,
    options: ExportStreamOptions,
  ): Promise<ExportStream> {
    try {
      return new ExportStream(chunks, await chunks.next(), options);
    } catch (error) {
      options.onEnd(null); // whoever asked is told
      throw error;
    }
  }

  /** The client has gone. */
  stop(): void {
    this.end(null);
    void this.chunks.return(undefined).catch(() => undefined);
  }

  private async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      for (;;) {
        if (!this.options.hasAccess()) throw accessEnded();
        const { done, value } = this.first ?? (await this.chunks.next());
        this.first = null;
        if (done === true) {
          controller.close();
          this.end(null);
          return;
        }
        if (value.bytes.length > 0) {
          controller.enqueue(value.bytes);
          return;
        }
        this.options.onQuiet();
      }
    } catch (error) {
      this.end(error);
      controller.error(error);
      void this.chunks.return(undefined).catch(() => undefined);
    }
  }

  private end(error: unknown): void {
    if (!this.ended) this.options.onEnd(error);
    this.ended = true;
  }
}

function accessEnded(): AuditdError {
  return new AuditdError('USAGE', 'the token was revoked, has expired, or its session has ended');
}
