import { readFileSync } from 'node:fs';
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { NetworkSet } from '../../audit/address.js';
import { type ApiConfig, listenAddress } from '../../config/api.js';
import type { ApiStatus } from '../../control/status.js';
import { clearSocketPath, listenOnPath, ownSocket } from '../../control/unix-socket.js';
import { codeOf, messageOf } from '../../errors.js';
import { groupId } from '../../sinks/files/log-directory.js';
import { Connections } from './connections.js';
import { problemText } from './problem.js';

export interface ApiListener {
  status(): Omit<ApiStatus, 'refused_host'>;
  connections(): number;
  close(): Promise<void>;
}

export interface ApiHandler {
  readonly answer: RequestListener;
  /** Whether requests are answered without loading code first. */
  isLoaded(): boolean;
}

const RETRY_MS = 5_000;
/** Request line and headers together; longer ones are answered with 431. */
const MOST_HEADER = 16 * 1024;
const HEADERS_MS = 5_000;
const REQUEST_MS = 15_000;
/** A connection that is idle for this long is closed, even during an answer. */
const SILENCE_MS = 30_000;
const KEEP_ALIVE_MS = 5_000;
const CHECKED_MS = 1_000;
/** While nobody is connected there is nothing to check. */
const UNCHECKED_MS = 3_600_000;
/** `Connections` keeps to a lower limit; connections that it closes count until the next turn of the event loop. */
const MOST_SOCKETS = 4_096;

/**
 * Listens, and retries while that fails (the port is in use, a certificate is missing); deliveries are not affected. Logs once that it
 * failed, and once that it listens.
 */
export function openApi(handler: ApiHandler, config: ApiConfig, log: Logger): ApiListener {
  return new Listener(handler, config, log);
}

class Listener implements ApiListener {
  private server: Server | null = null;
  private connected: Connections | null = null;
  private state: ApiStatus['state'] = 'starting';
  private error: string | null = null;
  private retry: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(
    private readonly handler: ApiHandler,
    private readonly config: ApiConfig,
    private readonly log: Logger,
  ) {
    this.open();
  }

  status(): Omit<ApiStatus, 'refused_host'> {
    return { state: this.state, listen: this.config.listen, error: this.error };
  }

  connections(): number {
    return this.connected?.size ?? 0;
  }

  close(): Promise<void> {
    this.closed = true;
    this.state = 'off';
    if (this.retry !== null) clearTimeout(this.retry);
    const { server } = this;
    if (server === null) return Promise.resolve();
    return new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
      this.connected?.destroyAll();
    });
  }

  private open(): void {
    let server: Server;
    try {
      server = this.create();
    } catch (error) {
      this.failed(error);
      return;
    }
    this.server = server;
    const address = listenAddress(this.config.listen) ?? { kind: 'tcp', host: '127.0.0.1', port: 0 };
    const proxies = new NetworkSet(this.config.trusted_proxies);
    this.connected = new Connections(server, (peer) =>
      peer === null ? address.kind === 'unix' : proxies.contains(peer),
    );
    server.on('clientError', refuse);
    if (address.kind === 'unix') {
      this.openSocket(server, address.path).then(
        () => this.listening(),
        (error: unknown) => this.failed(error),
      );
      return;
    }
    server.on('error', (error) => this.failed(error));
    server.listen({ host: address.host, port: address.port }, () => this.listening());
  }

  private async openSocket(server: Server, path: string): Promise<void> {
    const { socket_group: group, socket_mode: mode } = this.config;
    const gid = group === null ? null : groupId(group);
    if (group !== null && gid === null)
      throw new Error(`the group ${group} does not exist. Set another group in api.socket_group`);
    await clearSocketPath(path);
    if (this.closed) return;
    await listenOnPath(server, path);
    try {
      ownSocket(path, mode, gid);
    } catch (error) {
      server.close();
      if (codeOf(error) !== 'EPERM') throw error;
      throw new Error(
        `the daemon may not give ${path} to the group ${group}. Make the daemon a member of that group (systemctl edit postern-auditd: SupplementaryGroups=${group})`,
        { cause: error },
      );
    }
    server.on('error', (error) => this.failed(error));
  }

  private listening(): void {
    if (this.closed) return;
    this.state = 'listening';
    this.error = null;
    this.log.info({ listen: this.config.listen }, `the API listens on ${this.config.listen}`);
  }

  private create(): Server {
    const { tls } = this.config;
    const { answer, isLoaded } = this.handler;
    const options = {
      maxHeaderSize: MOST_HEADER,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECKED_MS,
    };
    const server =
      tls === null
        ? createPlainServer(options, answer)
        : createTlsServer(
            {
              ...options,
              handshakeTimeout: HEADERS_MS,
              minVersion: 'TLSv1.2',
              cert: readFileSync(tls.cert),
              key: readFileSync(tls.key),
            },
            answer,
          );
    // Who has shut down sending behind the request, as nc does, is answered if the answer is there at once, and else counts as gone: that
    // ends what is done for a client that left. Only the first request has to wait for code, so until then nobody counts as gone.
    Object.defineProperty(server, 'httpAllowHalfOpen', { get: () => !isLoaded() });
    checkWhileConnected(server);
    server.timeout = SILENCE_MS;
    server.maxRequestsPerSocket = 1_000;
    server.maxConnections = MOST_SOCKETS;
    return server;
  }

  private failed(error: unknown): void {
    if (this.closed) return;
    const message = listenError(error, this.config.listen);
    if (this.error !== message)
      this.log.error({ err: error }, `${message}; retrying every ${RETRY_MS / 1_000} s`);
    this.error = message;
    this.state = 'retrying';
    this.server = null;
    this.retry = setTimeout(() => this.open(), RETRY_MS);
    this.retry.unref();
  }
}

function listenError(error: unknown, listen: string): string {
  const path = listenAddress(listen)?.kind === 'unix' ? listen.slice('unix:'.length) : null;
  const start = `the API can't listen on ${listen}`;
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return path === null
        ? `${start}: another program uses the port. Set another port in api.listen, or find the program with: ss -ltnp`
        : `${start}: another program uses the path. Set another path in api.listen, or find the program with: ss -lxp`;
    case 'EADDRNOTAVAIL':
      return `${start}: this host does not have that address. Set another address in api.listen`;
    case 'EACCES':
    case 'EROFS':
      return path === null
        ? `the API may not listen on ${listen}. Set a port from 1024 in api.listen`
        : `the API may not create ${path}. Set a path in /run/postern-auditd in api.listen`;
    case 'EEXIST':
      return `${start}: the path exists and is not a socket. Move the file away, or set another path in api.listen`;
    default:
      return `${start}: ${messageOf(error)}`;
  }
}

/**
 * Answers a request that is not HTTP or too large before its connection is closed. All other connections are closed at once: no answer can
 * be sent over a failed TLS handshake, and waiting for that would keep the connection open for ever.
 */
function refuse(error: Error, socket: import('node:stream').Duplex): void {
  const isHttp = /^(HPE_|ERR_HTTP_)/.test(codeOf(error) ?? '');
  if (!isHttp || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, reason, detail] = refusalOf(codeOf(error));
  const body = problemText(status, reason, detail);
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  socket.once('finish', () => socket.destroy());
}

function refusalOf(code: string | null): readonly [number, string, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [
        431,
        'Request Header Fields Too Large',
        `Address and headers may have at most ${MOST_HEADER / 1_024} KiB.`,
      ];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [
        408,
        'Request Timeout',
        `Send the whole request within ${REQUEST_MS / 1_000} s, its headers within ${HEADERS_MS / 1_000} s.`,
      ];
    default:
      return [400, 'Bad Request', 'This is not an HTTP request.'];
  }
}

/**
 * Node.js looks for requests that take too long at an interval that runs as long as the server listens, which would wake an idle daemon each
 * second. A listener of its own for `listening` sets the interval up. Called again, it replaces it by one of the length that is wanted now.
 */
function checkWhileConnected(server: Server): void {
  const [setUp] = server.listeners('listening');
  if (setUp === undefined) return; // a Node.js that does it otherwise checks all the time
  let connected = 0;
  const check = (ms: number) => {
    Object.assign(server, { connectionsCheckingInterval: ms });
    if (server.listening) setUp.call(server);
  };
  check(UNCHECKED_MS);
  server.on('connection', (socket: Socket) => {
    if (connected++ === 0) check(CHECKED_MS);
    socket.once('close', () => {
      if (--connected === 0) check(UNCHECKED_MS);
    });
  });
}
