import { Hono } from 'hono';
import { requireScope } from '../access/auth.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { ConcurrencyLimit } from '../http/concurrency-limit.js';
import { accessCheck, onDisconnect } from '../http/long-responses.js';
import { LiveStream, parseLastEventId } from '../live/live-stream.js';
import { filterFromQuery, parametersOf, streamParameters } from '../request-schemas.js';
import { busy } from './audit-log.js';

const MOST_CLIENTS = 32;
/** Streams of one token, so that a script that leaks streams does not lock out others. */
const MOST_EACH = 16;

/** `GET /api/audit-log/stream`: server-sent events (WHATWG HTML section 9.2). */
export function streamRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const clients = new ConcurrencyLimit(MOST_CLIENTS, MOST_EACH);
  app.get('/api/audit-log/stream', requireScope('read'), (c) => {
    const asked = parametersOf(streamParameters, c.req.queries());
    // Recently missed entries are not in an archive yet.
    const filter = filterFromQuery({ ...asked, archives: asked.archives ?? 'false' }, deps.clock());
    const headers = { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' };
    if (c.req.method === 'HEAD') return c.body(null, 200, headers);
    const free = clients.take(c.var.identity?.id);
    if (free === null)
      return busy(c, `At most ${MOST_CLIENTS} streams are open at the same time, ${MOST_EACH} per token`);
    deps.metrics.streamClients.inc();
    const live = new LiveStream(deps, {
      filter,
      lastSeen: parseLastEventId(c.req.header('last-event-id')),
      hasAccess: accessCheck(c, deps),
      onEnd: (dropped) => {
        free();
        deps.metrics.streamClients.dec();
        if (dropped) deps.metrics.streamClientsDropped.inc();
      },
    });
    onDisconnect(c, () => live.end());
    return c.body(live.stream, 200, headers);
  });
  return app;
}
