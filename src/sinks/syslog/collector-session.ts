import type { AuditdError } from '../../errors.js';
import type { MessageBatch, OnProgress } from '../sink.js';
import type { MonitoredSocket } from './monitored-socket.js';

/** How much of a batch is delivered as the class of the sink promises. */
export interface Sent {
  /** The first so many events of the batch. */
  readonly count: number;
  /** Their bytes, framing included. */
  readonly bytes: number;
  /** Why it is not all of them; null where the time was up, or all are through. */
  readonly error: AuditdError | null;
}

/** What TLS showed, for `status`. */
export interface TlsState {
  readonly protocol: string;
  /** When the collector's certificate expires, ms since the epoch. */
  readonly expires: number;
}

/** A connection to a collector that takes events. */
export interface CollectorSession {
  readonly target: string;
  readonly link: MonitoredSocket;
  readonly tls: TlsState | null;
  /** Events that were sent and not answered; 0 where nothing is answered. */
  readonly unanswered: number;
  /** How many events may be sent beyond the cursor now; 0 where nothing is answered. */
  readonly window: number;
  /** @param onProgress gets how far the other side has answered meanwhile; not called where nothing is answered */
  send(batch: MessageBatch, signal: AbortSignal, onProgress?: OnProgress): Promise<Sent>;
  /** Ends it, at most 2 s. True if the other side has read everything and ended too. */
  close(): Promise<boolean>;
}

/** A batch is cut short after so long, so that a slow line makes progress in parts: shipping's timeout for a delivery is 60 s. */
export const SEND_LIMIT_MS = 20_000;
