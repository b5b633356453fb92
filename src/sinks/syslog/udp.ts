import dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import type { AuditdError } from '../../errors.js';
import { unlessAborted } from '../unless-aborted.js';
import { aborted } from './tcp.js';
import { collectorTrouble } from './trouble.js';

/** One message, one datagram. */
export interface Datagrams {
  readonly target: string;
  /** The address that the name had; null for a unix socket. */
  readonly address: string | null;
  /** The kernel has refused a datagram, or an earlier one came back as undeliverable. */
  readonly failed: AuditdError | null;
  /** `onDone(null)`: the kernel has taken it. */
  send(data: Buffer, onDone: (error: AuditdError | null) => void): void;
  close(): void;
}

/**
 * A connected UDP socket: so the kernel reports what the other host answers ("port unreachable"), once per
 * datagram lost and only while the collector's host itself is up.
 */
export async function openUdp(
  host: string,
  port: number,
  target: string,
  signal: AbortSignal,
): Promise<Datagrams> {
  const address = await unlessAborted(resolveHost(host, target), signal, () => aborted(target, signal));
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  let failed: AuditdError | null = null;
  const fail = (error: unknown) => {
    failed ??= collectorTrouble(target, error);
    return failed;
  };
  await new Promise<void>((resolve, reject) => {
    const refuse = (error: Error) => {
      socket.close();
      reject(fail(error));
    };
    socket.once('error', refuse);
    // Node hands the error of a connect that failed to this callback, and then emits none.
    socket.connect(port, address, (error?: Error) => {
      socket.removeListener('error', refuse);
      if (error !== undefined) {
        refuse(error);
        return;
      }
      socket.on('error', fail);
      resolve();
    });
  });
  return {
    target,
    address,
    get failed() {
      return failed;
    },
    send(data, onDone) {
      socket.send(data, (error) => onDone(error === null ? null : fail(error)));
    },
    close: () => socket.close(),
  };
}

/** The first address of a name, as the host's resolver orders them. */
export async function resolveHost(host: string, target: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw collectorTrouble(target, error);
  }
}
