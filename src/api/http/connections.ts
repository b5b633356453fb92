import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { networkOf, parseAddress } from '../../audit/address.js';

interface ConnectionLimits {
  /** Connections at a time; each costs some 20 KB. */
  readonly total: number;
  /** Of these from one address; of IPv6 from one /64, which is what one client has. */
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
  /** Without a request under way, also those that are still at their TLS handshake; the longest first. */
  readonly waiting: Set<Connection>;
  readonly busy: Set<Connection>;
}

/**
 * Keeps the number of connections bounded, from the moment they are accepted: one that never ends its TLS handshake counts as well.
 * An address that has too many loses the one that has waited longest without a whole request. When there are too many of all, the address
 * with the most waiting connections loses one. So clients that hold connections open and send nothing lock out nobody else.
 */
export class Connections {
  private readonly peers = new Map<string, Peer>();
  private readonly known = new WeakMap<Socket, Connection>();
  /** By the other end's address and port: with TLS a request comes on another object than the connection that was accepted. */
  private readonly byPort = new Map<string, Connection>();
  private count = 0;

  /** @param isProxy whether the address is shared by many clients, so that only the total bounds it; null for a unix socket */
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

  /** Those too that the server does not know yet, as their TLS handshake has not ended. */
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
