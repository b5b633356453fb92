import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Connections at a time; each costs some 20 KB. */
const MOST = 512;

/**
 * Keeps the number of connections bounded. When there are too many, the one goes that has waited longest without a whole request:
 * clients that hold connections open and send nothing lock out nobody.
 */
export class Connections {
  /** Without a request under way, the longest first. */
  private readonly waiting = new Set<Socket>();
  private readonly busy = new Set<Socket>();

  /** @param event when a connection can carry requests: `secureConnection` with TLS */
  constructor(server: Server, event: 'connection' | 'secureConnection', most = MOST) {
    server.on(event, (socket: Socket) => {
      if (this.size >= most) this.makeRoom(socket);
      if (socket.destroyed) return;
      this.waiting.add(socket);
      socket.once('close', () => {
        this.waiting.delete(socket);
        this.busy.delete(socket);
      });
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.waiting.delete(socket);
      this.busy.add(socket);
      response.once('close', () => {
        if (this.busy.delete(socket) && !socket.destroyed) this.waiting.add(socket);
      });
    });
  }

  get size(): number {
    return this.waiting.size + this.busy.size;
  }

  private makeRoom(latest: Socket): void {
    const [oldest] = this.waiting;
    (oldest ?? latest).destroy();
    if (oldest !== undefined) this.waiting.delete(oldest);
  }
}
