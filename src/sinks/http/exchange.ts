import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { HttpSinkConfig } from '../../config/http.js';
import { parseHttpUrl } from '../../config/http.js';
import { AuditdError, messageOf } from '../../errors.js';
import { VERSION } from '../../version.js';
import { sinkFailed } from '../sink-failed.js';
import { aborted } from '../syslog/tcp.js';
import { type AuthScheme, credentialHeaders } from './credentials.js';
import { type DialerConfig, DialingAgent, receiverName } from './dialer.js';

/** Of a timeout, at most so long for the connection. */
const CONNECT_MS = 10_000;
/** A longer answer is not read: no protocol has one. */
const MOST_ANSWER = 64 * 2 ** 20;
/** Below this a request is not compressed. */
const LEAST_GZIP = 512;

/** A complete answer. */
export interface HttpAnswer {
  readonly status: number;
  /** Media type in lower case, without parameters; empty if there is none. */
  readonly contentType: string;
  /** From Retry-After, milliseconds; null if there is none. */
  readonly retryAfterMs: number | null;
  readonly location: string | null;
  readonly body: Buffer;
}

/** The connection was open, but no complete answer arrived: the request may have been processed, or not. */
export class BrokenExchange {
  constructor(
    readonly error: AuditdError,
    /** The connection had served a request before, and the receiver has perhaps closed it meanwhile. */
    readonly isReusedConnection: boolean,
    /** Nothing broke, but no answer came in time. */
    readonly isTimeout = false,
  ) {}
}

/** A request. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** Default: the configured url. */
  readonly url?: URL;
  readonly contentType: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const compress = promisify(gzip);

/** What of a sink's configuration an exchange needs. */
export type ExchangeConfig = Pick<
  HttpSinkConfig,
  'url' | 'auth' | 'headers' | 'tls' | 'proxy' | 'timeout' | 'compression'
>;

/** Sends requests to one receiver over connections that are kept. Redirects are not followed: a POST would become a GET. */
export class HttpExchange {
  readonly url: URL;
  readonly name: string;
  private agent: DialingAgent;
  private pastConnects = 0;
  bytes = 0;

  /** @param scheme word before a token in Authorization */
  constructor(
    private readonly config: ExchangeConfig,
    private readonly scheme: AuthScheme,
  ) {
    const url = parseHttpUrl(config.url);
    if (url === null) throw new AuditdError('CONFIG_INVALID', 'url is not valid');
    this.url = url;
    this.name = receiverName(url);
    this.agent = this.createAgent();
  }

  get connects(): number {
    return this.pastConnects + this.agent.connects;
  }

  /** Closes all connections. Later requests open new ones. */
  close(): void {
    this.pastConnects += this.agent.connects;
    this.agent.destroy();
    this.agent = this.createAgent();
  }

  /**
   * Resolves with the answer, whatever its status.
   * @throws AuditdError if no connection is possible, or a secret can't be read
   */
  async send(wanted: HttpRequest, signal: AbortSignal): Promise<HttpAnswer | BrokenExchange> {
    const isCompressed = this.config.compression === 'gzip' && wanted.body.length >= LEAST_GZIP;
    const body = isCompressed ? await compress(wanted.body, { level: 1 }) : wanted.body;
    const headers = {
      ...this.config.headers,
      ...credentialHeaders(this.config.auth, this.scheme),
      ...wanted.headers,
      ...(wanted.contentType === null ? {} : { 'Content-Type': wanted.contentType }),
      ...(isCompressed ? { 'Content-Encoding': 'gzip' } : {}),
      'Content-Length': String(body.length),
      'User-Agent': `postern-auditd/${VERSION}`,
    };
    this.bytes += body.length;
    const first = await this.attempt(wanted, headers, body, signal);
    // A receiver may close an idle connection at the moment at which it is used again.
    if (first instanceof BrokenExchange && first.isReusedConnection)
      return this.attempt(wanted, headers, body, signal);
    return first;
  }

  /** As `send`, for a request that changes nothing or that the caller repeats itself. @throws AuditdError also if the connection breaks */
  async ask(wanted: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await this.send(wanted, signal);
    if (answer instanceof BrokenExchange) throw answer.error;
    return answer;
  }

  /** What a connection depends on. */
  get dialer(): DialerConfig {
    const { tls, proxy, timeout } = this.config;
    return { url: this.url, tls, proxy, connectTimeoutMs: Math.min(timeout, CONNECT_MS) };
  }

  private createAgent(): DialingAgent {
    return new DialingAgent(this.dialer);
  }

  private attempt(
    wanted: HttpRequest,
    headers: Readonly<Record<string, string>>,
    body: Buffer,
    signal: AbortSignal,
  ): Promise<HttpAnswer | BrokenExchange> {
    const { timeout, proxy } = this.config;
    const url = wanted.url ?? this.url;
    const isProxied = proxy !== undefined && url.protocol === 'http:';
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(aborted(this.name, signal));
      const sent = request({
        agent: this.agent,
        method: wanted.method,
        host: url.hostname,
        port: url.port,
        path: isProxied ? url.href : url.pathname + url.search,
        headers: { Host: url.host, ...headers },
        setHost: false,
      });
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (error: unknown) => {
        settle();
        sent.destroy();
        if (signal.aborted) reject(aborted(this.name, signal));
        else if (error instanceof AuditdError && error !== late) reject(error);
        else
          resolve(
            new BrokenExchange(this.brokenError(error), error !== late && isReused(sent), error === late),
          );
      };
      const late = sinkFailed(
        `${this.name}: no answer within ${Math.round(timeout / 100) / 10} s`,
        "Check the receiver's load and log, or raise timeout",
      );
      const timer = setTimeout(() => fail(late), timeout);
      const onAbort = () => fail(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      sent.on('error', fail);
      sent.once('response', (response) => {
        readAnswer(response).then((answer) => {
          settle();
          resolve(answer);
        }, fail);
      });
      sent.end(body);
    });
  }

  private brokenError(error: unknown): AuditdError {
    if (error instanceof AuditdError) return error;
    const what = `${this.name}: the connection broke before the answer was complete (${messageOf(error)})`;
    return sinkFailed(what, "Check the receiver's log", error);
  }
}

function isReused(sent: ClientRequest): boolean {
  return sent.reusedSocket;
}

async function readAnswer(response: IncomingMessage): Promise<HttpAnswer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    if (length > MOST_ANSWER) throw new Error('the answer is too long');
  }
  if (!response.complete) throw new Error('the answer ends early');
  const { headers, statusCode = 0 } = response;
  return {
    status: statusCode,
    contentType: (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    retryAfterMs: retryAfter(headers['retry-after'], Date.now()),
    location: headers.location ?? null,
    body: Buffer.concat(parts),
  };
}

/** Seconds or a date (RFC 9110 section 10.2.3), in milliseconds from now; null for anything else. */
function retryAfter(value: string | undefined, now: number): number | null {
  if (value === undefined) return null;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  const at = /^[A-Z][a-z]{2}, /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
