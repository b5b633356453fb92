import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditdError } from '../../errors.js';
import type { FormatFailures } from '../format-failures.js';
import { type Encoder, messageAt } from '../messages.js';
import type {
  Corrections,
  Delivered,
  DeliveryClass,
  Finding,
  MessageBatch,
  MessageSink,
  SinkFigures,
} from '../sink.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import type { FailoverTargets } from './failover.js';
import { aborted } from './tcp.js';
import type { Datagrams } from './udp.js';

export interface DatagramSinkOptions {
  readonly targets: FailoverTargets<Datagrams>;
  /** Datagrams that are given to the kernel at a time. */
  readonly burst: number;
  /** Between two bursts, ms. */
  readonly pauseMs: number;
  readonly encoder: Encoder;
  readonly unformatted: FormatFailures;
  readonly check: () => Promise<Finding[]>;
  readonly log: Logger;
}

/** A socket that accepts nothing for so long is closed. */
const STALLED_MS = 20_000;
/** A name's address is looked up again this often: a datagram socket has no reconnect that would do it. */
const RESOLVE_MS = 60_000;

/** Syslog as datagrams: UDP and unix datagram sockets. What the kernel has taken counts as delivered. */
export class DatagramSink implements MessageSink {
  readonly deliveryClass: DeliveryClass = 'best effort';
  readonly encoder: Encoder;
  private datagrams: Datagrams | null = null;
  private index = 0;
  private openedAt = 0;
  /** The open socket has sent a message without an error from the other host. */
  private probed = false;
  private opens = 0;
  private messages = 0;
  private bytes = 0;
  private inFlight = 0;

  constructor(private readonly options: DatagramSinkOptions) {
    this.encoder = options.encoder;
  }

  async open(_saved: string | null, signal?: AbortSignal): Promise<Corrections | null> {
    this.drop();
    const { index, connection } = await this.options.targets.open(signal ?? new AbortController().signal);
    this.datagrams = connection;
    this.index = index;
    this.openedAt = performance.now();
    this.probed = false;
    this.opens++;
    return null;
  }

  async deliver(batch: MessageBatch, signal: AbortSignal): Promise<Delivered> {
    if (performance.now() - this.openedAt > RESOLVE_MS) await this.open(null, signal);
    const { datagrams } = this;
    if (datagrams === null) throw sinkFailed('not open', 'The sink retries');
    const { burst, pauseMs, unformatted } = this.options;
    const { messages } = batch;
    const first = await this.probe(datagrams, batch, signal);
    for (let at = first; at < messages.length; at += burst) {
      if (at > 0 && pauseMs > 0) await sleep(pauseMs);
      if (signal.aborted) throw this.failed(aborted(datagrams.target, signal), false);
      const length = Math.min(burst, messages.length - at);
      // Copies: the kernel may take one when this sink has long given up on the batch.
      const datagramsOfBurst = Array.from({ length }, (_, offset) =>
        Buffer.from(messageAt(messages, at + offset)),
      );
      await this.sendAll(datagrams, datagramsOfBurst, signal);
    }
    unformatted.noteIn(messages, messages.length);
    return { upTo: batch.upTo };
  }

  /** Throws if datagrams of the last batch turned out to be undeliverable. */
  async tick(): Promise<string | null> {
    const failed = this.datagrams?.failed ?? null;
    if (failed !== null) throw this.failed(failed, false);
    return null;
  }

  check(): Promise<Finding[]> {
    return this.options.check();
  }

  figures(): SinkFigures {
    return {
      target: this.datagrams?.target ?? null,
      address: this.datagrams?.address ?? null,
      reconnects_total: Math.max(0, this.opens - 1),
      messages_total: this.messages,
      bytes_total: this.bytes,
      unformatted_total: this.options.unformatted.total,
      in_flight: this.inFlight,
    };
  }

  async close(): Promise<void> {
    this.drop();
  }

  /** Sends the first message of a socket by itself, which finds the address that takes it. @returns how many that were */
  private async probe(
    datagrams: Datagrams,
    { messages }: MessageBatch,
    signal: AbortSignal,
  ): Promise<number> {
    if (this.probed || datagrams.probe === undefined || messages.length === 0) return 0;
    const data = Buffer.from(messageAt(messages, 0));
    try {
      await datagrams.probe(data, signal);
    } catch (error) {
      throw this.failed(collectorError(datagrams.target, error), false);
    }
    this.probed = true;
    this.messages++;
    this.bytes += data.length;
    return 1;
  }

  private sendAll(datagrams: Datagrams, burst: readonly Buffer[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      let open = burst.length;
      let settled = false;
      const stalled = () =>
        fail(
          sinkFailed(
            `${datagrams.target}: it accepted nothing for ${STALLED_MS / 1000} s`,
            'Check whether its receiver hangs',
          ),
          true,
        );
      const timer = setTimeout(stalled, STALLED_MS);
      const onAbort = () => fail(aborted(datagrams.target, signal), false);
      const settle = () => {
        settled = true;
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.inFlight = 0;
      };
      const fail = (error: AuditdError, hangs: boolean) => {
        if (settled) return;
        settle();
        reject(this.failed(error, hangs));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.inFlight = open;
      const onDone = (data: Buffer, error: AuditdError | null) => {
        if (settled) return;
        const failed = error ?? datagrams.failed;
        if (failed !== null) {
          fail(failed, false);
          return;
        }
        this.messages++;
        this.bytes += data.length;
        this.inFlight = --open;
        if (open > 0) return;
        settle();
        resolve();
      };
      try {
        for (const data of burst) datagrams.send(data, (error) => onDone(data, error));
      } catch (error) {
        fail(collectorError(datagrams.target, error), false);
      }
    });
  }

  private failed(error: AuditdError, stalled: boolean): AuditdError {
    this.options.targets.ended(this.index, performance.now() - this.openedAt, stalled);
    this.drop();
    return error;
  }

  private drop(): void {
    this.datagrams?.close();
    this.datagrams = null;
  }
}
