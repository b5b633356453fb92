import dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLoopback } from '../../config/api.js';
import type { AuditdError } from '../../errors.js';
import { unlessAborted } from '../abortable.js';
import { collectorError } from './collector-error.js';
import { aborted } from './tcp.js';

/** One message, one datagram. */
export interface Datagrams {
  readonly target: string;
  /** The address that the name had; null for a unix socket. */
  readonly address: string | null;
  /** The kernel has refused a datagram, or an earlier one came back as undeliverable. */
  readonly failed: AuditdError | null;
  /**
   * Sends the first message and waits for an error of the other host; after one it tries the next address of the name. Left out where a send itself reports the error.
   *
   * @throws AuditdError if all of them reported an error
   */
  probe?(data: Buffer, signal: AbortSignal): Promise<void>;
  /** `onDone(null)`: the kernel has taken it. */
  send(data: Buffer, onDone: (error: AuditdError | null) => void): void;
  close(): void;
}

/** All addresses of a name, in the order in which they are to be tried. */
export type Resolve = (host: string) => Promise<string[]>;

/** How long to wait for a remote host's answer that it has no listener; on this host it is immediate. */
const ANSWER_MS = 250;

export interface UdpTarget {
  readonly host: string;
  readonly port: number;
  /** As it is configured, for messages. */
  readonly text: string;
}

/**
 * Opens connected UDP sockets: so the kernel reports what the other host answers ("port unreachable"), once per
 * datagram lost and only while the collector's host itself is up.
 *
 * A name may have several addresses (`localhost` is ::1 and 127.0.0.1) and a collector listen on one of them. The address that was
 * good is tried first the next time. Silence of another host does not prove that the collector is there (a firewall may drop it all): once
 * an address was good, one that refuses is a collector that restarts, and is waited for.
 *
 * @param isHere whether an address is this host's, which answers at once if there is no listener
 */
export function createUdp(
  resolve: Resolve = addressesOf,
  isHere: (address: string) => boolean = isLoopback,
): (to: UdpTarget, signal: AbortSignal) => Promise<Datagrams> {
  const good = new Map<string, string>();
  return async (to, signal) => {
    const found = await unlessAborted(resolveHost(to, resolve), signal, () => aborted(to.text, signal));
    const known = good.get(to.text);
    const addresses =
      known === undefined || !found.includes(known)
        ? found
        : [known, ...found.filter((address) => address !== known && isHere(address))];
    const socket = new UdpDatagrams(to, addresses, (address) => {
      // An address that only replaced one that refused is not preferred the next time.
      if (address === found[0] || isHere(address)) good.set(to.text, address);
    });
    await socket.open();
    return socket;
  };
}

class UdpDatagrams implements Datagrams {
  readonly target: string;
  address: string;
  failed: AuditdError | null = null;
  private socket: dgram.Socket | null = null;
  /** Addresses that are still to be tried. */
  private left: string[];
  private closed = false;

  constructor(
    private readonly to: UdpTarget,
    addresses: readonly string[],
    private readonly onGood: (address: string) => void,
  ) {
    this.target = to.text;
    this.left = [...addresses];
    this.address = addresses[0] ?? '';
  }

  /** To the next address that the kernel connects to. @throws AuditdError what was wrong with the first of them */
  async open(): Promise<void> {
    const before = this.failed;
    for (let address = this.left.shift(); address !== undefined; address = this.left.shift()) {
      this.failed = null;
      this.address = address;
      this.socket = await this.connect(address);
      if (this.socket !== null) return;
    }
    throw before ?? this.failed ?? collectorError(this.target, new Error('its name has no address'));
  }

  async probe(data: Buffer, signal: AbortSignal): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => this.send(data, () => resolve()));
      const until = performance.now() + ANSWER_MS;
      while (this.failed === null && !this.closed && performance.now() < until && !signal.aborted)
        await sleep(5);
      if (this.closed || signal.aborted) throw aborted(this.target, signal);
      if (this.failed === null) break;
      this.socket?.close();
      this.socket = null;
      await this.open(); // throws this failure if no address is left
    }
    this.onGood(this.address);
  }

  send(data: Buffer, onDone: (error: AuditdError | null) => void): void {
    if (this.socket === null)
      throw this.failed ?? collectorError(this.target, new Error('the socket is closed'));
    this.socket.send(data, (error) => onDone(error === null ? null : this.fail(error)));
  }

  close(): void {
    this.closed = true;
    this.socket?.close();
    this.socket = null;
  }

  private fail(error: unknown): AuditdError {
    this.failed ??= collectorError(this.target, error);
    return this.failed;
  }

  /** Null if the kernel does not. */
  private connect(address: string): Promise<dgram.Socket | null> {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    return new Promise((resolve) => {
      const refuse = (error: Error) => {
        socket.close();
        this.fail(error);
        resolve(null);
      };
      socket.once('error', refuse);
      // Node hands the error of a connect that failed to this callback, and then emits none.
      socket.connect(this.to.port, address, (error?: Error) => {
        socket.removeListener('error', refuse);
        if (error !== undefined) {
          refuse(error);
          return;
        }
        socket.on('error', (later) => {
          if (this.socket === socket) this.fail(later);
        });
        resolve(socket);
      });
    });
  }
}

/** As the host's resolver orders them. */
async function addressesOf(host: string): Promise<string[]> {
  return [...new Set((await lookup(host, { all: true })).map(({ address }) => address))];
}

/** @throws AuditdError with the reason why the name has no address */
export async function resolveHost(
  { host, text }: Pick<UdpTarget, 'host' | 'text'>,
  resolve: Resolve = addressesOf,
): Promise<string[]> {
  try {
    return await resolve(host);
  } catch (error) {
    throw collectorError(text, error);
  }
}
