import { messageAt } from '../messages.js';
import type { MessageBatch } from '../sink.js';
import { type CollectorSession, SEND_LIMIT_MS, type Sent, type TlsState } from './collector-session.js';
import type { Framing } from './frame-buffer.js';
import { FrameBuffer } from './frame-buffer.js';
import type { MonitoredSocket } from './monitored-socket.js';
import { aborted } from './tcp.js';

/** Bytes joined into one write. Larger ones were no faster (measured), and a stall is seen by writes that return. */
const WRITE = 64 * 1024;
/** Bytes that may wait for the kernel while the next events are formatted: Node joins them into one write, which counts when all of it is through. */
const IN_FLIGHT = 64 * 1024;

/** An event that is written, and not yet all with the kernel. */
interface Written {
  readonly source: string;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
  readonly replay: boolean;
  /** Its frame. */
  readonly bytes: number;
  /** Where in the stream its frame ends. */
  readonly end: number;
}

/**
 * Messages framed into a byte stream; delivered is what the kernel has taken.
 *
 * Over a slow line a batch is not waited for to its end: what the kernel has taken when the time is up counts, what is written behind
 * it stays on its way. Shipping gives those events again with the next batch, and they are recognised and not written twice. So a line
 * that moves at all gets on, and whether it does is judged by the link.
 */
export class StreamSession implements CollectorSession {
  readonly unanswered = 0;
  readonly window = 0;
  private readonly frames = new FrameBuffer();
  private inFlight: Written[] = [];

  constructor(
    readonly target: string,
    readonly link: MonitoredSocket,
    readonly tls: TlsState | null,
    private readonly framing: Framing,
    private readonly limitMs = SEND_LIMIT_MS,
  ) {}

  /** @throws AuditdError if the connection ends meanwhile: how much was delivered is unknown */
  async send(batch: MessageBatch, signal: AbortSignal): Promise<Sent> {
    const { link, frames, framing } = this;
    const { messages } = batch;
    const stop = () => link.destroy(aborted(this.target, signal));
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      const until = performance.now() + this.limitMs;
      const msLeft = () => until - performance.now();
      const begun = this.resumeInFlight(batch);
      const ends = begun.map(({ end }) => end);
      const start = link.bytes;
      while (ends.length < messages.length && msLeft() > 0 && (await link.room(IN_FLIGHT, msLeft()))) {
        while (ends.length < messages.length && frames.length < WRITE) {
          frames.add(messageAt(messages, ends.length), framing);
          ends.push(link.bytes + frames.length);
        }
        link.write(frames.take());
      }
      await link.room(0, msLeft());
      return this.count(batch, begun, start, ends);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  close(): Promise<boolean> {
    return this.link.close();
  }

  /** The batch's first events that were written in an earlier round. */
  private resumeInFlight(batch: MessageBatch): Written[] {
    const { source, timeline, messages } = batch;
    const replay = batch.replay === true;
    const isMine = (written: Written) => written.source === source && written.replay === replay;
    const mine = this.inFlight.filter(isMine);
    this.inFlight = this.inFlight.filter((written) => !isMine(written));
    const other = mine.findIndex(
      ({ timeline: of, sequence, id }, index) =>
        of !== timeline || sequence !== messages.sequences[index] || id !== messages.idAt(index),
    );
    return other < 0 ? mine : mine.slice(0, other);
  }

  /** How many are with the kernel; remembers the others. `ends`: of the written ones, those of `begun` first, the others from `start` on. */
  private count(
    batch: MessageBatch,
    begun: readonly Written[],
    start: number,
    ends: readonly number[],
  ): Sent {
    const { taken } = this.link;
    const { source, timeline, messages } = batch;
    const sizeOf = (at: number) =>
      begun[at]?.bytes ?? (ends[at] ?? 0) - (at === begun.length ? start : (ends[at - 1] ?? 0));
    let count = 0;
    let bytes = 0;
    for (const [at, end] of ends.entries()) {
      if (end <= taken) {
        count++;
        bytes += sizeOf(at);
        continue;
      }
      this.inFlight.push({
        source,
        timeline,
        sequence: messages.sequences[at] ?? 0,
        id: messages.idAt(at),
        replay: batch.replay === true,
        bytes: sizeOf(at),
        end,
      });
    }
    return { count, bytes, error: null };
  }
}
