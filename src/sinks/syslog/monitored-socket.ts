import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AuditdError } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import type { Ending } from './replay-window.js';
import {
  type ByteProgress,
  type Ends,
  isStalled,
  progressBetween,
  readSendQueue,
  SAMPLE_MS,
} from './send-queue.js';

/** How a connection ended. */
export interface Ended {
  /** `closed`: by the other side, with everything acknowledged. */
  readonly ending: Ending;
  /** The other side was there, and took or answered nothing. */
  readonly stalled: boolean;
  readonly error: AuditdError;
}

export interface MonitoredSocketOptions {
  /** The target as it is configured, for messages. */
  readonly target: string;
  /** Null for a unix socket, whose other end can't vanish without a word. */
  readonly ends: Ends | null;
  /** Receives data from the other side; omitted: the data is ignored. */
  readonly onData?: (data: Buffer) => void;
}

interface Waiter {
  readonly limit: number;
  readonly resolve: (there: boolean) => void;
  readonly reject: (error: AuditdError) => void;
}

const CLOSE_MS = 2_000;

/**
 * A byte stream to a collector: bounded writing, an end that is noticed at once, a stall that is noticed within 30 s.
 *
 * Half-open and hung connections are detected by the kernel's send queue (send-queue.ts), where it can be read; else by writes
 * that do not return, which shows only once the kernel's buffer is full.
 */
export class MonitoredSocket {
  /** Set once the connection is of no more use. */
  ended: Ended | null = null;
  readonly openedAt = performance.now();
  private readonly target: string;
  private written = 0;
  private accepted = 0;
  private known: ByteProgress = { acknowledged: 0, since: performance.now() };
  private unacknowledgedNow: number | null = null;
  /** Null while nothing is open. */
  private sampling: NodeJS.Timeout | null = null;
  private waiting: Waiter[] = [];
  private readonly listeners = new Set<(ended: Ended) => void>();
  private readonly onPeerEnd = () => void this.closedByPeer();

  /** @param socket connected, with `allowHalfOpen`, so that the state at the other side's end can be looked at */
  constructor(
    private readonly socket: Socket | TLSSocket,
    private readonly options: MonitoredSocketOptions,
  ) {
    this.target = options.target;
    socket.on('data', options.onData ?? (() => undefined));
    socket.on('error', (error) => this.destroy(collectorError(this.target, error)));
    socket.on('end', this.onPeerEnd);
    socket.on('close', () =>
      this.destroy(sinkFailed(`${this.target}: the connection was closed`, "Check the collector's log")),
    );
    socket.resume();
  }

  /** Bytes that the kernel has not taken yet. */
  get pending(): number {
    return this.written - this.accepted;
  }

  get bytes(): number {
    return this.written;
  }

  /** Of these, bytes that the kernel has taken. */
  get taken(): number {
    return this.accepted;
  }

  /** Bytes that the other side's kernel had not acknowledged at the last look; null where that is not known. */
  get unacknowledged(): number | null {
    return this.unacknowledgedNow;
  }

  /** Calls back once, at once if it has ended. Returns what takes the listener away again. */
  onEnd(listener: (ended: Ended) => void): () => void {
    if (this.ended !== null) listener(this.ended);
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  write(data: Buffer): void {
    if (this.ended !== null) return;
    if (this.sampling === null) {
      this.known = { ...this.known, since: performance.now() };
      this.sampling = setTimeout(() => void this.sample(), SAMPLE_MS).unref();
    }
    this.written += data.length;
    this.socket.write(data, (error) => {
      if (error != null) return; // 'error' or 'close' reports it
      this.accepted += data.length;
      this.wake();
    });
  }

  /**
   * Resolves with true when at most `limit` bytes wait for the kernel, with false where that takes longer than `ms`; rejects when the
   * connection has ended.
   */
  room(limit: number, ms: number): Promise<boolean> {
    if (this.ended !== null) return Promise.reject(this.ended.error);
    if (this.pending <= limit) return Promise.resolve(true);
    if (ms <= 0) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        limit,
        resolve: (there) => {
          clearTimeout(timer);
          resolve(there);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        this.waiting = this.waiting.filter((other) => other !== waiter);
        resolve(false);
      }, ms);
      this.waiting.push(waiter);
    });
  }

  /** Aborts the connection. */
  destroy(error: AuditdError, stalled = false): void {
    this.finish({ ending: 'lost', stalled, error });
    this.socket.destroy();
  }

  /** Ends our side and waits for the other to end its own. True if all of that went as it should. */
  close(limitMs = CLOSE_MS): Promise<boolean> {
    if (this.ended !== null) return Promise.resolve(false);
    this.socket.removeListener('end', this.onPeerEnd);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.destroy(sinkFailed(`${this.target}: it did not close in time`, null));
        resolve(false);
      }, limitMs);
      this.onEnd(() => {
        clearTimeout(timer);
        resolve(false);
      });
      this.socket.once('end', () => {
        clearTimeout(timer);
        resolve(this.ended === null);
        this.finish({ ending: 'orderly', stalled: false, error: sinkFailed(`${this.target}: closed`, null) });
        this.socket.destroy();
      });
      this.socket.end();
    });
  }

  private async closedByPeer(): Promise<void> {
    const queue = await this.readUnacknowledged();
    const ending = this.pending === 0 && queue === 0 ? 'closed' : 'lost';
    this.finish({
      ending,
      stalled: false,
      error: sinkFailed(
        `${this.target}: it closed the connection`,
        "If that repeats, check the collector's log and the timeouts of idle connections",
      ),
    });
    this.socket.destroy();
  }

  /** Unacknowledged bytes; null where that can't be known. */
  private async readUnacknowledged(): Promise<number | null> {
    const { ends } = this.options;
    if (ends === null) return null;
    const queue = await readSendQueue(ends);
    this.unacknowledgedNow = queue?.unacknowledged ?? null;
    return this.unacknowledgedNow;
  }

  private async sample(): Promise<void> {
    const accepted = this.accepted;
    const unacknowledged = await this.readUnacknowledged();
    if (this.ended !== null) return;
    const now = performance.now();
    const open = unacknowledged ?? this.pending;
    this.known = progressBetween(this.known, { at: now, accepted, unacknowledged: open });
    if (isStalled(this.known, now)) {
      this.destroy(
        sinkFailed(
          `${this.target}: nothing was acknowledged or read for ${Math.round((now - this.known.since) / 1000)} s`,
          'Check whether the collector hangs or the network on the way is cut',
        ),
        true,
      );
      return;
    }
    const settled = open === 0 && this.pending === 0;
    this.sampling = settled ? null : setTimeout(() => void this.sample(), SAMPLE_MS).unref();
  }

  private wake(): void {
    if (this.waiting.length === 0) return;
    const open = this.pending;
    const ready = this.waiting.filter(({ limit }) => open <= limit);
    if (ready.length === 0) return;
    this.waiting = this.waiting.filter(({ limit }) => open > limit);
    for (const { resolve } of ready) resolve(true);
  }

  private finish(ended: Ended): void {
    if (this.ended !== null) return;
    this.ended = ended;
    if (this.sampling !== null) clearTimeout(this.sampling);
    for (const { reject } of this.waiting.splice(0)) reject(ended.error);
    const listeners = [...this.listeners];
    this.listeners.clear();
    for (const listener of listeners) listener(ended);
  }
}
