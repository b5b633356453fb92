import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { AuditEvent } from '../audit/event.js';
import type { ApiStatus } from '../control/status.js';
import { messageOf } from '../errors.js';
import { loadPart } from '../installation.js';
import { queryOptionsOf } from '../query/query-options.js';
import { type ApiListener, openApi } from './http/listener.js';
import { problemText } from './http/problem.js';
import type { ApiChannel, ApiServiceOptions, ServedApi, ServedConfig } from './served-api.js';

/**
 * The API as the daemon has it: the listener, and what answers. The latter's code takes a fifth of the daemon's memory and a second of
 * a small machine's time, so it is loaded at the first request.
 */
export class ApiService {
  /** Null before the first configuration, and while nothing is served. */
  private config: ServedConfig | null = null;
  private listener: ApiListener | null = null;
  private loading: Promise<ServedApi> | null = null;
  private served: ServedApi | null = null;

  constructor(private readonly options: ApiServiceOptions) {}

  /** Serves what the configuration says. What concerns the API and is as it was goes on undisturbed. */
  async apply(config: ServedConfig): Promise<void> {
    if (this.config !== null && sameFor(this.config, config)) return;
    await this.close();
    this.config = config;
    this.served?.apply(config);
    const handler = { answer: this.handlerOf('http'), isLoaded: () => this.served !== null };
    if (config.api.enabled) this.listener = openApi(handler, config.api, this.options.log);
  }

  /** Answers what the control socket has no route for. */
  readonly answerSocket: RequestListener = this.handlerOf('socket');

  /** Hands events that were just read to those who look on. */
  publish(events: readonly AuditEvent[]): void {
    this.served?.live.publish(events);
  }

  /** Whether somebody looks on. */
  get isWatched(): boolean {
    return this.served?.live.isWatched === true;
  }

  status(): ApiStatus {
    const status = this.listener?.status() ?? { state: 'off', listen: null, error: null };
    return { ...status, refused_host: this.served?.refusedHost ?? null };
  }

  async close(): Promise<void> {
    const { listener } = this;
    this.listener = null;
    this.config = null;
    await listener?.close();
    await this.loading?.catch(() => null);
    await this.served?.close();
  }

  private handlerOf(channel: ApiChannel): RequestListener {
    return (request, response) => {
      if (this.served !== null) this.answer(this.served, channel, request, response);
      else
        this.load().then(
          (served) => this.answer(served, channel, request, response),
          (error: unknown) => unavailable(response, messageOf(error)),
        );
    };
  }

  private answer(
    api: ServedApi,
    channel: ApiChannel,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const handler = api.handler(channel);
    if (handler === null) unavailable(response, 'The API is being closed.');
    else handler(request, response);
  }

  private load(): Promise<ServedApi> {
    this.loading ??= this.create().catch((error: unknown) => {
      this.loading = null;
      this.options.log.error({ err: error }, messageOf(error));
      throw error;
    });
    return this.loading;
  }

  private async create(): Promise<ServedApi> {
    const loaded = await loadPart('the API', () => import('./served-api.js'));
    const connections = () => this.listener?.connections() ?? 0;
    const served = new loaded.ServedApi({ ...this.options, connections });
    if (this.config !== null) served.apply(this.config);
    this.served = served;
    return served;
  }
}

function unavailable(response: ServerResponse, detail: string): void {
  response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '5' });
  response.end(problemText(503, 'The API is not available', detail));
}

function sameFor(before: ServedConfig, after: ServedConfig): boolean {
  const part = (config: ServedConfig) => {
    const { api, fail2ban } = config;
    return JSON.stringify({ api, fail2ban, queries: queryOptionsOf(config) });
  };
  // A certificate is read again at each reload: it is renewed under the same name.
  return after.api.tls === null && part(before) === part(after);
}
