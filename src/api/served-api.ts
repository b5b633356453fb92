import { hostname } from 'node:os';
import type Database from 'better-sqlite3';
import type { Hono } from 'hono';
import type { Logger } from 'pino';
import type { LoadedConfig } from '../config/load.js';
import type { ApiStatus, DaemonStatus, RefusedHost } from '../control/status.js';
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
import { type ApiListener, openApi } from './http/listener.js';
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

type ServedConfig = LoadedConfig['config'];

/** Time limit of a page. `limit=0` and the command `export` have none. */
const QUERY_LIMIT_MS = 10_000;

/** The API of the daemon. Tokens, sessions, failure counts and live streams outlive a reload; the rest follows the configuration. */
export class ApiService {
  readonly live = new EventBus();
  readonly tokens: TokenStore;
  private readonly sessions: Sessions;
  private readonly metrics: ApiMetrics;
  private failures: Failures | null = null;
  private served: { config: ServedConfig; queries: QueryService; socket: Hono<ApiEnv> } | null = null;
  private listener: ApiListener | null = null;
  private refusedHost: RefusedHost | null = null;

  constructor(private readonly options: ApiServiceOptions) {
    const { db, clock, onRecorded } = options;
    this.sessions = new Sessions(clock);
    this.metrics = new ApiMetrics(
      () => this.options.status(),
      () => this.sessions.size,
    );
    this.metrics.connections = () => this.listener?.connections() ?? 0;
    this.tokens = new TokenStore({ db, clock, onRecorded, recorder: createRecorder(db, { clock }) });
  }

  /** Applies a configuration. If nothing that concerns the API has changed, open requests continue undisturbed. */
  async apply(config: ServedConfig): Promise<void> {
    if (this.served !== null && sameFor(this.served.config, config)) return;
    await this.close();
    const { log } = this.options;
    this.refusedHost = null;
    const queries = createPooledQueries({ ...queryOptionsOf(config), timeLimit: QUERY_LIMIT_MS });
    const deps = this.depsOf(config, queries);
    this.served = { config, queries, socket: createApi(deps, null) };
    if (config.api.enabled) this.listener = openApi(createApi(deps, this.guardOf(config)), config.api, log);
  }

  /** Answers the requests that the control socket does not handle itself. */
  fetch(request: Request, env: ApiEnv['Bindings']): Response | Promise<Response> {
    return this.served?.socket.fetch(request, env) ?? new Response(null, { status: 503 });
  }

  status(): ApiStatus {
    const status = this.listener?.status() ?? { state: 'off', listen: null, error: null };
    return { ...status, refused_host: this.refusedHost };
  }

  async close(): Promise<void> {
    const { listener, served } = this;
    this.listener = null;
    this.served = null;
    await listener?.close();
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

function sameFor(before: ServedConfig, after: ServedConfig): boolean {
  const part = (config: ServedConfig) => {
    const { api, fail2ban } = config;
    return JSON.stringify({ api, fail2ban, queries: queryOptionsOf(config) });
  };
  // A certificate is read again at each reload: it is renewed under the same name.
  return after.api.tls === null && part(before) === part(after);
}
