import { Hono } from 'hono';
import { sendJson } from '../../control/send-json.js';
import type { DaemonStatus } from '../../control/status.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';

/** `/healthz`: whether the daemon works or must be restarted. `/readyz`: whether every source and sink works. Neither needs a token. */
export function healthRoutes({ status }: Pick<ApiDeps, 'status'>): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get('/healthz', (c) => {
    const failing = status().hung;
    return sendJson(
      c,
      { status: failing.length === 0 ? 'ok' : 'failing', failing },
      failing.length === 0 ? 200 : 503,
    );
  });
  app.get('/readyz', (c) => {
    const failing = notReady(status());
    return sendJson(
      c,
      { status: failing.length === 0 ? 'ok' : 'failing', failing },
      failing.length === 0 ? 200 : 503,
    );
  });
  return app;
}

/** The names of failing parts; clients without a token get no more. A Postern that is stopped or not installed yet is not a failure. */
function notReady({ sources, sinks }: Pick<DaemonStatus, 'sources' | 'sinks'>): string[] {
  return [
    ...Object.entries(sources)
      .filter(([, { state }]) => !['reading', 'stopped', 'missing'].includes(state))
      .map(([name]) => `source ${name}`),
    ...Object.entries(sinks)
      .filter(([, { state }]) => state === 'backing off' || state === 'opening' || state === 'stopped')
      .map(([name]) => `sink ${name}`),
  ];
}
