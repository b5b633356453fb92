import net from 'node:net';
import type { AuditdError } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import type { Ends } from './send-queue.js';

/** libuv probes each second after this, 10 times: an idle connection whose other end is gone is noticed within 20 s. */
const KEEP_ALIVE_MS = 10_000;
/** Of a name with several addresses each gets so long before the next is tried beside it; Node's 250 ms is less than some round trips. */
const ADDRESS_MS = 2_000;

export interface ConnectOptions {
  /** For all that a connection takes: name, handshakes, RELP's open. */
  readonly timeoutMs: number;
  /** When it began, ms of the monotonic clock. */
  readonly startedAt: number;
  readonly signal: AbortSignal;
  /** Whether our side stays open after the other side has ended its own; default true. */
  readonly allowHalfOpen?: boolean;
}

/** What is left of the time, ms. */
export function timeLeft({ timeoutMs, startedAt }: ConnectOptions): number {
  return Math.max(1, timeoutMs - (performance.now() - startedAt));
}

/** Connects to host and port (the name is resolved each time) or to the path of a unix stream socket. */
export function connectSocket(
  to: { readonly host: string; readonly port: number } | { readonly path: string },
  target: string,
  options: ConnectOptions,
): Promise<net.Socket> {
  const { timeoutMs, signal, allowHalfOpen = true } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(aborted(target, signal));
      return;
    }
    const socket = net.connect({
      ...to,
      allowHalfOpen,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      autoSelectFamilyAttemptTimeout: ADDRESS_MS,
    });
    const fail = (error: AuditdError) => {
      settle();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const onError = (error: Error) => fail(collectorError(target, error));
    const onAbort = () => fail(aborted(target, signal));
    const timer = setTimeout(() => fail(timedOut(target, timeoutMs)), timeLeft(options));
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
  });
}

/** @param signal has aborted; its reason becomes part of the message if there is one */
export function aborted(target: string, signal: AbortSignal): AuditdError {
  const reason: unknown = signal.reason;
  const why = reason instanceof Error && reason.name !== 'AbortError' ? ` (${reason.message})` : '';
  return sinkFailed(`${target}: aborted${why}`, 'The sink retries');
}

export function timedOut(target: string, ms: number): AuditdError {
  return sinkFailed(
    `${target}: no answer within ${Math.round(ms / 100) / 10} s`,
    'Check host, port, route and firewalls on the way',
  );
}

/** The ends of a connected socket; null for a unix socket. */
export function endsOf(socket: net.Socket): Ends | null {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined) return null;
  if (remoteAddress === undefined || remotePort === undefined) return null;
  return { localAddress, localPort, remoteAddress, remotePort };
}
