import { once } from 'node:events';
import { createServer, type Server } from 'node:http';

export interface Received {
  readonly at: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Takes messages as a webhook's receiver does. */
export class Inbox {
  readonly taken: Received[] = [];
  /** Requests that were answered with something else than 200. */
  readonly refused: Received[] = [];
  /** Answers for the next requests; then all are taken. */
  answers: Array<{ readonly status: number; readonly headers?: Readonly<Record<string, string>> }> = [];
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      request.on('end', () => {
        const received = { at: Date.now(), path: request.url ?? '', headers: request.headers, body };
        const { status, headers = {} } = this.answers.shift() ?? { status: 200 };
        (status === 200 ? this.taken : this.refused).push(received);
        response.writeHead(status, headers).end('{}');
      });
    });
  }

  static async open(): Promise<Inbox> {
    const inbox = new Inbox();
    inbox.server.listen(0, '127.0.0.1');
    await once(inbox.server, 'listening');
    return inbox;
  }

  /** The address of a path. */
  url(path: string): string {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('the inbox is closed');
    return `http://127.0.0.1:${address.port}${path}`;
  }

  bodies(): Array<Record<string, unknown>> {
    return this.taken.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
