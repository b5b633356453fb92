import { Hono } from 'hono';
import { requireScope } from '../access/auth.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';

/** `GET /metrics`, in the text format of Prometheus. */
export function metricsRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get('/metrics', requireScope('read'), async (c) =>
    c.body(await deps.metrics.text(), 200, { 'content-type': deps.metrics.contentType }),
  );
  return app;
}
