import type { RequestListener } from 'node:http';
import { hostname } from 'node:os';
import { getRequestListener } from '@hono/node-server';
import type Database from 'better-sqlite3';
import type { Hono } from 'hono';
import type { Logger } from 'pino';
import type { LoadedConfig } from '../config/load.js';
import type { DaemonStatus, RefusedHost } from '../control/status.js';
import { jailBans } from '../fail2ban/helper-client.js';
import { queryOptionsOf } from '../query/query-options.js';
import { createPooledQueries, type QueryService } from '../query/service.js';
import { createRecorder, type NewEntry } from '../recorder/recorder.js';
import { type FailureRule, Failures } from './access/failed-auth-limiter.js';
import { Sessions } from './access/session.js';
import { TokenStore } from './access/tokens.js';
import { createApi } from './app.js';
import type { ApiEnv } from './context.js';
import type { ApiDeps } from './deps.js';
import { certificateNames, type HostGuard } from './http/allowed-hosts.js';
import { problemText } from './http/problem.js';
import { EventBus } from './live/live-stream.js';
import { ApiMetrics } from './metrics.js';

export interface ApiServiceOptions {
  /** state.db, open, ours. */
  readonly db: Database.Database;
  status(): DaemonStatus;
  record(entry: NewEntry): void;
  /** To be called when a ban is lifted on request. */
  readonly onUnban: (address: string, by: string) => void;
  /** To be called when rows were recorded in state.db. */
  readonly onRecorded: () => void;
  readonly clock: () => number;
  readonly log: Logger;
}

export interface ServedApiOptions extends ApiServiceOptions {
  /** How many connections there are to the API. */
  readonly connections: () => number;
}

export type ServedConfig = LoadedConfig['config'];

/** By which way a request comes: to the API's own address, or through the control socket. */
export type ApiChannel = 'http' | 'socket';

/** Time limit of a page. `limit=0` and the command `export` have none. */
const QUERY_LIMIT_MS = 10_000;

/** Answers the requests of the API. Tokens, sessions, failure counts and live streams outlive a reload; the rest follows the configuration. */
export class ServedApi {
  readonly live = new EventBus();
  /** The last request that was refused for the host that it named, under this configuration. */
  refusedHost: RefusedHost | null = null;
  private readonly tokens: TokenStore;
  private readonly sessions: Sessions;
  private readonly metrics: ApiMetrics;
  private failures: Failures | null = null;
  private served: { queries: QueryService; handlers: Record<ApiChannel, RequestListener> } | null = null;

  constructor(private readonly options: ServedApiOptions) {
    const { db, clock, onRecorded, connections } = options;
    this.sessions = new Sessions(clock);
    this.metrics = new ApiMetrics(
      () => this.options.status(),
      () => this.sessions.size,
    );
    this.metrics.connections = connections;
    this.tokens = new TokenStore({ db, clock, onRecorded, recorder: createRecorder(db, { clock }) });
  }

  /** Follows the configuration; to be closed before. */
  apply(config: ServedConfig): void {
    this.refusedHost = null;
    const queries = createPooledQueries({ ...queryOptionsOf(config), timeLimit: QUERY_LIMIT_MS });
    const deps = this.depsOf(config, queries);
    const http = handlerOf(createApi(deps, this.guardOf(config)));
    this.served = { queries, handlers: { http, socket: handlerOf(createApi(deps, null)) } };
  }

  /** What answers requests now; null while it is closed. */
  handler(channel: ApiChannel): RequestListener | null {
    return this.served?.handlers[channel] ?? null;
  }

  async close(): Promise<void> {
    const { served } = this;
    this.served = null;
    await served?.queries.close();
  }

  private guardOf({ api, server }: ServedConfig): HostGuard {
    const { clock, log } = this.options;
    const own = [server, hostname()];
    let certificate: string[] = []; // the file may be created later: the listener retries until then
    let isLogged = false;
    return {
      config: api,
      ownNames: () => {
        if (api.tls !== null && certificate.length === 0) certificate = certificateNames(api.tls.cert);
        return [...own, ...certificate];
      },
      onRefused: (host) => {
        this.refusedHost = { host, at: clock() };
        if (isLogged) return;
        isLogged = true;
        log.warn(
          { host },
          `a request for the host ${JSON.stringify(host)} was refused. If it is a name of this server, add it to api.hosts. If a proxy is in front of it, list the proxy under api.trusted_proxies`,
        );
      },
    };
  }

  private failuresBy(rule: FailureRule): Failures {
    this.failures ??= new Failures(rule, this.options.clock);
    this.failures.rule = rule;
    return this.failures;
  }

  private depsOf(config: ServedConfig, queries: QueryService): ApiDeps {
    const { status, record, clock, log, onUnban } = this.options;
    const { jail, max_retry: failures, find_time: withinMs } = config.fail2ban;
    return {
      queries,
      status,
      record,
      clock,
      log,
      tokens: this.tokens,
      sessions: this.sessions,
      metrics: this.metrics,
      bans: jailBans(jail, onUnban),
      subscribe: (listener) => this.live.subscribe(listener),
      config: config.api,
      server: config.server,
      failures: this.failuresBy({ failures, withinMs }),
    };
  }
}

function handlerOf(app: Hono<ApiEnv>): RequestListener {
  return getRequestListener(app.fetch, { errorHandler: () => malformed() });
}

function malformed(): Response {
  const body = problemText(400, 'The request is not valid', 'Its address or its Host header is malformed.');
  return new Response(body, {
    status: 400,
    headers: { 'content-type': 'application/problem+json', connection: 'close' },
  });
}
