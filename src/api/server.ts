import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { identify } from './auth.js';
import { ClientAddresses } from './client-address.js';
import { guardChanges } from './csrf.js';
import type { ApiDeps } from './deps.js';
import type { ApiEnv } from './env.js';
import { secured } from './headers.js';
import { measured } from './measured.js';
import { notOurs } from './methods.js';
import { pages } from './pages/pages.js';
import { problem, problemOf } from './problem.js';
import { auditLog } from './routes/audit-log.js';
import { bans } from './routes/bans.js';
import { health } from './routes/health.js';
import { login } from './routes/login.js';
import { metrics } from './routes/metrics.js';
import { openapi } from './routes/openapi.js';
import { stats } from './routes/stats.js';
import { stream } from './routes/stream.js';
import { tokens } from './routes/tokens.js';

const MOST_BODY = 64 * 1024;

/**
 * The API and the pages. A new noun docks here with a file of its own under routes/.
 *
 * @param channel `socket`: whoever asks has been let in by the mode of the control socket
 */
export function createApi(deps: ApiDeps, channel: 'http' | 'socket' = 'http'): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const addresses = new ClientAddresses(deps.config.trusted_proxies, (peer) =>
    deps.log.warn(
      { peer },
      `${peer} sends X-Forwarded-For, and is not believed. If it is your proxy, add it to api.trusted_proxies: until then all who come through it are ${peer}`,
    ),
  );
  app.use(secured);
  app.use(measured(deps.metrics));
  app.onError((error, c) => {
    const answer = problemOf(c, error);
    if (answer.status === 500) deps.log.error({ err: error, path: c.req.path }, 'a request failed');
    return answer;
  });
  app.notFound(notOurs(app));
  app.route('/', health(deps));
  app.use(identify({ deps, addresses, channel }));
  app.use(
    bodyLimit({
      maxSize: MOST_BODY,
      onError: (c) => problem(c, 413, 'The body is too long', `At most ${MOST_BODY / 1_024} KiB are taken.`),
    }),
  );
  app.use(guardChanges);
  app.route('/', login(deps));
  app.route('/', openapi());
  app.route('/', stats(deps));
  app.route('/', stream(deps));
  app.route('/', auditLog(deps));
  app.route('/', bans(deps));
  app.route('/', metrics(deps));
  if (channel === 'socket') app.route('/', tokens(deps));
  if (channel === 'http') app.route('/', pages(deps));
  return app;
}
