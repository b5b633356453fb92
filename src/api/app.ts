import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { secureHeaders } from 'hono/secure-headers';
import { listenAddress } from '../config/api.js';
import { identify } from './access/auth.js';
import { ClientAddresses } from './access/client-address.js';
import { guardChanges } from './access/csrf.js';
import type { ApiContext, ApiEnv } from './context.js';
import type { ApiDeps } from './deps.js';
import { guardHost, type HostGuard } from './http/allowed-hosts.js';
import { problemOf, problemResponse } from './http/problem.js';
import { countRequests } from './metrics.js';
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
 * The security headers of every answer. They allow our own script and style files, and no frames or other hosts.
 * No Strict-Transport-Security: it applies to the host with all its ports (RFC 6797 section 8.3), and Postern's own page uses http.
 */
const securityHeaders = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'", 'data:'],
    fontSrc: ["'self'"],
    connectSrc: ["'self'"],
    manifestSrc: ["'self'"],
    formAction: ["'self'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
  },
  xFrameOptions: 'DENY',
  // Not no-referrer: browsers then send "Origin: null" with forms, and the check of changes needs the origin.
  referrerPolicy: 'same-origin',
  permissionsPolicy: { camera: [], geolocation: [], microphone: [], payment: [], usb: [] },
  strictTransportSecurity: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

/** Forbids caching, unless the route allows it. */
const withoutCache = createMiddleware<ApiEnv>(async (c, next) => {
  await next();
  const { headers } = c.res;
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store');
});

/**
 * The API and the pages. A new resource is added here, with a file of its own in routes/.
 *
 * @param guard the hosts that requests may name; null for the control socket, whose file mode decides who may connect
 */
export function createApi(deps: ApiDeps, guard: HostGuard | null): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const channel = guard === null ? 'socket' : 'http';
  app.use(withoutCache);
  app.use(securityHeaders);
  app.use(countRequests(deps.metrics));
  app.use(locate(deps, channel));
  if (guard !== null) app.use(guardHost(guard));
  app.onError((error, c) => {
    const answer = problemOf(c, error);
    if (answer.status === 500) deps.log.error({ err: error, path: c.req.path }, 'a request failed');
    return answer;
  });
  app.notFound(notFound);
  app.route('/', healthRoutes(deps));
  app.use(identify({ deps, channel }));
  app.use(
    bodyLimit({
      maxSize: MOST_BODY,
      onError: (c) =>
        problemResponse(c, 413, 'The body is too long', `A body may have at most ${MOST_BODY / 1_024} KiB.`),
    }),
  );
  app.use(guardChanges);
  app.use(methodNotAllowed({ app, onMethodNotAllowed: allowedMethods }));
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

function notFound(c: ApiContext): Response {
  const { method, path } = c.req;
  return problemResponse(c, 404, 'Not found', `${method} ${path.slice(0, 200)} is not part of this API.`, {
    next: 'Read /api/audit-log/docs for what there is',
  });
}

/**
 * 405 for a path that exists, but not with this method (RFC 9110 section 15.5.6). OPTIONS returns the same list of methods, and no CORS
 * headers: pages of other origins may not read or change anything.
 */
function allowedMethods(c: Context, methods: readonly string[]): Response {
  const { method, path } = c.req;
  const allow = methods.join(', ');
  if (method === 'OPTIONS') return c.body(null, 204, { allow });
  c.header('allow', allow);
  return problemResponse(
    c,
    405,
    'Method not allowed',
    `${path.slice(0, 200)} does not support ${method.slice(0, 20)}.`,
    {
      next: `Use ${allow}`,
    },
  );
}

/** Finds the client of a request. */
function locate({ config, log }: ApiDeps, channel: 'http' | 'socket') {
  const ignored = (peer: string | null) => {
    if (peer === null) {
      log.warn(
        `the proxy at ${config.listen} sends no X-Forwarded-For, so failed token attempts through it lead to no ban. Configure the proxy to set the header (docs/reference/API.md)`,
      );
      return;
    }
    log.warn(
      { peer },
      `${peer} sends X-Forwarded-For but is not a trusted proxy, so the header is ignored and all its clients count as ${peer}. If it is your proxy, add it to api.trusted_proxies`,
    );
  };
  // A TCP connection that was reset has no address either, so a missing address means the proxy only at a unix socket.
  const isProxySocket = channel === 'http' && listenAddress(config.listen)?.kind === 'unix';
  const addresses = new ClientAddresses(config.trusted_proxies, ignored, isProxySocket ? 'proxy' : 'local');
  return createMiddleware<ApiEnv>(async (c, next) => {
    const socket = c.env?.incoming?.socket;
    const encrypted = socket !== undefined && 'encrypted' in socket;
    c.set('client', addresses.of(socket?.remoteAddress, encrypted, c.req));
    return next();
  });
}
