import { Hono } from 'hono';
import { sendJson } from '../../control/send-json.js';
import { requireScope } from '../access/auth.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { ConcurrencyLimit } from '../http/concurrency-limit.js';
import { filterFromQuery, parametersOf, statsParameters } from '../request-schemas.js';
import { busy } from './audit-log.js';

/** Statistics at the same time. Each reads every matching row. */
const MOST_TALLIES = 4;

/** `GET /api/audit-log/stats` */
export function statsRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const tallies = new ConcurrencyLimit(MOST_TALLIES);
  app.get('/api/audit-log/stats', requireScope('read'), async (c) => {
    const asked = parametersOf(statsParameters, c.req.queries());
    const filter = filterFromQuery(asked, deps.clock());
    const free = tallies.take();
    if (free === null) return busy(c, `At most ${MOST_TALLIES} statistics are counted at the same time`);
    try {
      return sendJson(c, await deps.queries.stats(filter, { top: asked.top }));
    } finally {
      free();
    }
  });
  return app;
}
