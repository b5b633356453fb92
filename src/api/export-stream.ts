import { AuditdError } from '../errors.js';
import type { QueryChunk } from '../query/service.js';

export interface ExportStreamOptions {
  /** Called before each chunk: whether the client still has access. */
  readonly hasAccess: () => boolean;
  /** Called while the export continues without anything to send, as it searches for a few rows among millions. */
  readonly onQuiet: () => void;
  /** Called once, however it ends. */
  readonly onEnd: (error: unknown) => void;
}

/**
 * A whole export as a stream that reads on only when the client has taken what was sent, so it needs the memory of two chunks however many
 * entries there are. An error aborts the stream, so that a part is not mistaken for the whole.
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

  /** Waits for the first chunk, as an error before it can still be sent as a problem. @throws as the chunks */
  static async begin(
    chunks: AsyncGenerator<QueryChunk, void>,
    options: ExportStreamOptions,
  ): Promise<ExportStream> {
    try {
      return new ExportStream(chunks, await chunks.next(), options);
    } catch (error) {
      options.onEnd(null); // the client gets the error
      throw error;
    }
  }

  /** To be called when the client has disconnected. */
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
  return new AuditdError('USAGE', 'the token was revoked or has expired, or its session has ended');
}
