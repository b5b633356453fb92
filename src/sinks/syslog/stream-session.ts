import type { Formatter } from '../../formats/message.js';
import type { Batch } from '../sink.js';
import { FrameBuffer } from './frame-buffer.js';
import type { Framing } from './framing.js';
import type { Link } from './link.js';
import { SEND_LIMIT_MS, type Sent, type Session, type TlsState } from './session.js';
import { aborted } from './tcp.js';

/** Bytes joined into one write. Larger ones were no faster (measured), and a stall is seen by writes that return. */
const WRITE = 64 * 1024;
/** Bytes that may wait for the kernel while the next events are formatted. */
const IN_FLIGHT = 1024 * 1024;

/** Messages framed into a byte stream; delivered is what the kernel has taken. */
export class StreamSession implements Session {
  readonly unanswered = 0;
  private readonly frames: FrameBuffer;

  constructor(
    readonly target: string,
    readonly link: Link,
    readonly tls: TlsState | null,
    format: Formatter,
    private readonly framing: Framing,
  ) {
    this.frames = new FrameBuffer(format);
  }

  /** @throws AuditdError when the connection ends before all is with the kernel: nothing is known of any of it */
  async send({ events }: Batch, signal: AbortSignal): Promise<Sent> {
    const { link } = this;
    const stop = () => link.destroy(aborted(this.target));
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      const started = performance.now();
      const before = link.bytes;
      const { frames } = this;
      frames.take(); // nothing, unless a batch was broken off
      let count = 0;
      for (const event of events) {
        frames.add(event, this.framing);
        count++;
        if (frames.length < WRITE) continue;
        link.write(frames.take());
        await link.room(IN_FLIGHT);
        if (performance.now() - started > SEND_LIMIT_MS) break;
      }
      if (frames.length > 0) link.write(frames.take());
      await link.room(0);
      return { count, bytes: link.bytes - before, error: null };
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  close(): Promise<boolean> {
    return this.link.close();
  }
}
