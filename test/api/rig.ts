import { createServer } from 'node:net';
import { controlRequest } from '../../src/api/client.js';
import type { ApiStatus } from '../../src/api/status.js';
import { DaemonRig } from '../daemon/rig.js';

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
