import { Agent, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { parseHttpProxy } from '../../config/http.js';
import type { SyslogTlsConfig } from '../../config/syslog.js';
import { sinkFailed } from '../sink-failed.js';
import { aborted, type ConnectOptions, connectSocket, timedOut, timeLeft } from '../syslog/tcp.js';
import { startTls, type TlsSession } from '../syslog/tls.js';

/** What of the configuration a connection depends on. */
export interface DialerConfig {
  readonly url: URL;
  readonly tls: SyslogTlsConfig | undefined;
  /** http://host:port */
  readonly proxy: string | undefined;
  readonly connectTimeoutMs: number;
}

/** Longest answer of a proxy to CONNECT. */
const MOST_ANSWER = 16_384;

/** Host and port, as messages name the receiver. */
export function receiverName(url: URL): string {
  return `${url.hostname}:${portOf(url)}`;
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

/** The host without the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

/**
 * Opens a connection to the receiver, through the proxy and with TLS if configured. The certificate has been accepted.
 *
 * @throws AuditdError with what the receiver did and the next step
 */
async function dial(config: DialerConfig, signal: AbortSignal): Promise<Socket | TLSSocket> {
  if (config.url.protocol === 'http:') return (await dialRaw(config, signal)).raw;
  const { socket, refused } = await dialTls(config, signal);
  if (refused === null) return socket;
  socket.on('error', () => undefined);
  socket.destroy();
  throw refused;
}

/** Opens a connection with TLS. The caller looks at `refused`, and closes the socket. @throws AuditdError as `dial` */
export async function dialTls(config: DialerConfig, signal: AbortSignal): Promise<TlsSession> {
  const { raw, target, options, isProxied } = await dialRaw(config, signal);
  const { url, tls = { min_version: '1.2' } } = config;
  if (isProxied) await openTunnel(raw, receiverName(url), target, options);
  return startTls(raw, tls, hostOf(url), target, options);
}

async function dialRaw(config: DialerConfig, signal: AbortSignal) {
  const { url, proxy } = config;
  const name = receiverName(url);
  const options: ConnectOptions = {
    timeoutMs: config.connectTimeoutMs,
    startedAt: performance.now(),
    signal,
    // A half-open connection that the server has closed would be reused, and the request would wait for its timeout.
    allowHalfOpen: false,
  };
  const via = proxy === undefined ? null : parseHttpProxy(proxy);
  const to = via ?? url;
  const target = via === null ? name : `${name} (through the proxy ${receiverName(via)})`;
  const raw = await connectSocket({ host: hostOf(to), port: portOf(to) }, receiverName(to), options);
  return { raw, target, options, isProxied: via !== null };
}

/** Asks a proxy for a tunnel (RFC 9110 section 9.3.6). */
function openTunnel(raw: Socket, name: string, target: string, options: ConnectOptions): Promise<void> {
  const { timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    let head = '';
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      raw.removeListener('data', onData);
      raw.removeListener('error', onError);
      raw.removeListener('close', onClose);
    };
    const fail = (error: Error) => {
      settle();
      raw.on('error', () => undefined);
      raw.destroy();
      reject(error);
    };
    const onError = (error: Error) =>
      fail(sinkFailed(`${target}: ${error.message}`, 'Check proxy in the configuration', error));
    const onClose = () =>
      fail(sinkFailed(`${target}: the proxy closed the connection`, 'Check proxy in the configuration'));
    const onAbort = () => fail(aborted(target, signal));
    const onData = (data: Buffer) => {
      head += data.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length < MOST_ANSWER) return;
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 'no HTTP';
      if (status !== '200' || end !== head.length - 4)
        return fail(
          sinkFailed(
            `${target}: the proxy answers ${status} to CONNECT`,
            'Allow the connection at the proxy',
          ),
        );
      settle();
      resolve();
    };
    const timer = setTimeout(() => fail(timedOut(target, timeoutMs)), timeLeft(options));
    signal.addEventListener('abort', onAbort, { once: true });
    raw.on('data', onData).once('error', onError).once('close', onClose);
    raw.write(`CONNECT ${name} HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
  });
}

/** An agent of node:http whose connections are opened by `dial`, and kept for the next request. */
export class DialingAgent extends Agent {
  private readonly ending = new AbortController();
  /** Connections that were opened. */
  connects = 0;

  constructor(private readonly config: DialerConfig) {
    super({ keepAlive: true, maxFreeSockets: 4 });
  }

  override createConnection(
    _options: ClientRequestArgs,
    done?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const report = done as (error: Error | null, stream?: Duplex) => void;
    dial(this.config, this.ending.signal).then(
      (socket) => {
        this.connects++;
        report(null, socket);
      },
      (error: Error) => report(error),
    );
  }

  override destroy(): void {
    this.ending.abort();
    super.destroy();
  }
}
