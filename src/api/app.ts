import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { listenAddress } from '../config/api.js';
import { identify } from './access/auth.js';
import { ClientAddresses } from './access/client-address.js';
import { guardChanges } from './access/csrf.js';
import type { ApiDeps } from './deps.js';
import type { ApiEnv } from './env.js';
import { guardHost, type HostGuard } from './http/allowed-hosts.js';
import { notOurs } from './http/method-not-allowed.js';
import { problemOf, problemResponse } from './http/problem.js';
import { measured } from './http/request-metrics.js';
import { secured } from './http/security-headers.js';
import { pages } from './pages/routes.js';
import { auditLogRoutes } from './routes/audit-log.js';
import { bansRoutes } from './routes/bans.js';
import { healthRoutes } from './routes/health.js';
import { loginRoutes } from './routes/login.js';
import { metricsRoutes } from './routes/metrics.js';
import { openapiRoutes } from './routes/openapi.js';
import { statsRoutes } from './routes/stats.js';
import { streamRoutes } from './routes/stream.js';
import { tokensRoutes } from './routes/tokens.js';

const MOST_BODY = 64 * 1024;

/**
 * The API and the pages. A new noun docks here with a file of its own under routes/.
 *
 * @param guard which hosts requests may name; null for the control socket: whoever asks has been let in by its mode
 */
export function createApi(deps: ApiDeps, guard: HostGuard | null): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const channel = guard === null ? 'socket' : 'http';
  app.use(secured);
  app.use(measured(deps.metrics));
  app.use(locate(deps, channel));
  if (guard !== null) app.use(guardHost(guard));
  app.onError((error, c) => {
    const answer = problemOf(c, error);
    if (answer.status === 500) deps.log.error({ err: error, path: c.req.path }, 'a request failed');
    return answer;
  });
  app.notFound(notOurs(app));
  app.route('/', healthRoutes(deps));
  app.use(identify({ deps, channel }));
  app.use(
    bodyLimit({
      maxSize: MOST_BODY,
      onError: (c) =>
        problemResponse(c, 413, 'The body is too long', `At most ${MOST_BODY / 1_024} KiB are taken.`),
    }),
  );
  app.use(guardChanges);
  app.route('/', loginRoutes(deps));
  app.route('/', openapiRoutes());
  app.route('/', statsRoutes(deps));
  app.route('/', streamRoutes(deps));
  app.route('/', auditLogRoutes(deps));
  app.route('/', bansRoutes(deps));
  app.route('/', metricsRoutes(deps));
  if (channel === 'socket') app.route('/', tokensRoutes(deps));
  if (channel === 'http') app.route('/', pages(deps));
  return app;
}

/** Finds out where a request comes from. */
function locate({ config, log }: ApiDeps, channel: 'http' | 'socket') {
  const ignored = (peer: string | null) => {
    if (peer === null) {
      log.warn(
        `the proxy at ${config.listen} sends no X-Forwarded-For: nobody who guesses tokens through it is banned. Let it set the header (docs/reference/API.md)`,
      );
      return;
    }
    log.warn(
      { peer },
      `${peer} sends X-Forwarded-For, and is not believed. If it is your proxy, add it to api.trusted_proxies: until then all who come through it are ${peer}`,
    );
  };
  // A connection over TCP that was reset has no address either: only where it can't be one is nobody's address the proxy's.
  const isProxySocket = channel === 'http' && listenAddress(config.listen)?.kind === 'unix';
  const addresses = new ClientAddresses(config.trusted_proxies, ignored, isProxySocket ? 'proxy' : 'local');
  return createMiddleware<ApiEnv>(async (c, next) => {
    const socket = c.env?.incoming?.socket;
    const encrypted = socket !== undefined && 'encrypted' in socket;
    c.set('client', addresses.of(socket?.remoteAddress, encrypted, c.req));
    return next();
  });
}
