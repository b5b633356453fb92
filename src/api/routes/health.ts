import { Hono } from 'hono';
import { sendJson } from '../../control/send-json.js';
import type { DaemonStatus } from '../../control/status.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';

/** `/healthz`: does it turn, or must it be restarted? `/readyz`: is everything shipped that there is to ship? Neither takes a token. */
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

/** Names alone: who asks without a token learns no more. A Postern that is stopped or not there yet is no failure. */
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
