import { get, type OutgoingHttpHeaders } from 'node:http';
import { createServer } from 'node:net';
import { controlRequest } from '../../src/control/client.js';
import type { ApiStatus } from '../../src/control/status.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape, looked at by tests
  json(): any;
}

/** The real daemon with its API on a free port. */
export class ApiRig {
  private constructor(
    readonly daemon: DaemonRig,
    readonly port: number,
  ) {}

  /** @param api further YAML of `api`, such as `trusted_proxies: []` */
  static async start(api = '', extra = '', listen = ''): Promise<ApiRig> {
    const port = await freePort();
    const rig = new ApiRig(
      new DaemonRig({
        api: `{ listen: "${listen || `127.0.0.1:${port}`}"${api === '' ? '' : `, ${api}`} }`,
        extra,
      }),
      port,
    );
    await rig.daemon.start();
    await rig.listening();
    return rig;
  }

  async listening(): Promise<void> {
    await this.daemon.until((status) => apiOf(status).state === 'listening', 'the API listens');
  }

  /** A new token, as `postern-auditd token create` makes it. */
  async token(
    name: string,
    scope: 'read' | 'admin' = 'read',
    expires: string | null = null,
  ): Promise<string> {
    const body = { name, scope, expires };
    const made = (await controlRequest(this.daemon.control, 'POST', '/api/tokens', body)) as {
      token: string;
    };
    return made.token;
  }

  async ask(path: string, token: string | null, init: RequestInit = {}): Promise<Answer> {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set('authorization', `Bearer ${token}`);
    const response = await fetch(this.url(path), { redirect: 'manual', ...init, headers });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
  }

  /**
   * With the path as it stands, which fetch would tidy up.
   *
   * @param from a loopback address of the client
   */
  raw(path: string, headers: OutgoingHttpHeaders, from = '127.0.0.1'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const where = { host: '127.0.0.1', port: this.port, path, headers, localAddress: from, agent: false };
      get(where, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const pairs = Object.entries(response.headersDistinct).flatMap(([name, values]) =>
            (values ?? []).map((value): [string, string] => [name, value]),
          );
          resolve({
            status: response.statusCode ?? 0,
            headers: new Headers(pairs),
            text,
            json: () => JSON.parse(text),
          });
        });
      }).on('error', reject);
    });
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  close(): Promise<void> {
    return this.daemon.close();
  }
}

export function apiOf(status: unknown): ApiStatus {
  return (status as { api: ApiStatus }).api;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}
