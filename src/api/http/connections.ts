import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { networkOf, parseAddress } from '../../audit/address.js';

interface ConnectionLimits {
  /** Connections at the same time; each needs about 20 KB. */
  readonly total: number;
  /** Connections from one address; for IPv6 from one /64, which one client has. */
  readonly perAddress: number;
}

const CONNECTION_LIMITS: ConnectionLimits = { total: 512, perAddress: 64 };

interface Connection {
  readonly socket: Socket;
  readonly peer: Peer;
}

/** All connections of one address. */
interface Peer {
  readonly key: string;
  readonly most: number;
  /** Connections without a request in progress, including those in their TLS handshake; the longest waiting first. */
  readonly waiting: Set<Connection>;
  readonly busy: Set<Connection>;
}

/**
 * Limits the number of connections from the moment they are accepted, so one that never completes its TLS handshake counts too. If an
 * address has too many, its connection that has waited longest without a whole request is closed. If there are too many in total, the address
 * with the most waiting connections loses one. So clients that hold connections open without sending lock out nobody else.
 */
export class Connections {
  private readonly peers = new Map<string, Peer>();
  private readonly known = new WeakMap<Socket, Connection>();
  /** By the peer's address and port: with TLS, requests have another socket object than the accepted connection. */
  private readonly byPort = new Map<string, Connection>();
  private count = 0;

  /** @param isProxy whether many clients share the address, so that only the total limits it; the address is null for a unix socket */
  constructor(
    server: Server,
    private readonly isProxy: (address: string | null) => boolean,
    private readonly limits = CONNECTION_LIMITS,
  ) {
    server.on('connection', (socket: Socket) => this.accept(socket));
    server.on('secureConnection', (socket: Socket) => {
      const connection = this.byPort.get(portOf(socket));
      if (connection === undefined) socket.destroy();
      else this.known.set(socket, connection);
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const connection = this.known.get(socket);
      if (connection === undefined) return;
      const { waiting, busy } = connection.peer;
      waiting.delete(connection);
      busy.add(connection);
      response.once('close', () => {
        if (busy.delete(connection) && !connection.socket.destroyed) waiting.add(connection);
      });
    });
  }

  get size(): number {
    return this.count;
  }

  /** Destroys all connections, including those in their TLS handshake, which the server does not know yet. */
  destroyAll(): void {
    for (const { waiting, busy } of this.peers.values())
      for (const { socket } of [...waiting, ...busy]) socket.destroy();
  }

  private accept(socket: Socket): void {
    const peer = this.peerOf(parseAddress(socket.remoteAddress ?? null));
    const isFull = this.count >= this.limits.total;
    if (sizeOf(peer) >= peer.most || isFull) {
      const [oldest] = (sizeOf(peer) >= peer.most ? peer : this.mostWaiting())?.waiting ?? [];
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      this.remove(oldest);
      oldest.socket.destroy();
    }
    const connection: Connection = { socket, peer };
    const port = portOf(socket);
    this.count++;
    this.peers.set(peer.key, peer);
    peer.waiting.add(connection);
    this.known.set(socket, connection);
    this.byPort.set(port, connection);
    socket.once('close', () => {
      this.remove(connection);
      if (this.byPort.get(port) === connection) this.byPort.delete(port);
    });
  }

  private peerOf(address: string | null): Peer {
    const isProxy = this.isProxy(address);
    const key = isProxy ? 'proxies' : address === null ? 'unknown' : networkOf(address, 64);
    const most = isProxy ? this.limits.total : this.limits.perAddress;
    return this.peers.get(key) ?? { key, most, waiting: new Set(), busy: new Set() };
  }

  private mostWaiting(): Peer | undefined {
    let found: Peer | undefined;
    for (const peer of this.peers.values())
      if (found === undefined || peer.waiting.size > found.waiting.size) found = peer;
    return found;
  }

  private remove(connection: Connection): void {
    const { peer } = connection;
    if (!peer.waiting.delete(connection) && !peer.busy.delete(connection)) return;
    this.count--;
    if (sizeOf(peer) === 0) this.peers.delete(peer.key);
  }
}

function sizeOf({ waiting, busy }: Peer): number {
  return waiting.size + busy.size;
}

function portOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
