import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import type { ApiEnv } from '../env.js';
import type { ApiMetrics } from '../metrics.js';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS', 'PUT', 'PATCH']);

/** Counts answers by the pattern of their route, of which there are few: what clients write into addresses makes no new series. */
export function measured(metrics: ApiMetrics) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const begin = performance.now();
    await next();
    const found = routePath(c, -1);
    const route = found === '*' || found === '/*' ? 'none' : (found.split('{')[0] ?? '');
    const method = METHODS.has(c.req.method) ? c.req.method : 'other';
    metrics.requests.inc({ method, route, status: String(c.res.status) });
    metrics.duration.observe({ route }, (performance.now() - begin) / 1_000);
  });
}
