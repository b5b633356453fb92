import type { Hono } from 'hono';
import type { ApiContext, ApiEnv } from '../env.js';
import { problemResponse } from './problem.js';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/**
 * What no route answers: 405 with what is allowed, where the path is one of ours (RFC 9110 section 15.5.6), 404 elsewhere. OPTIONS is told
 * the same, and nothing of other origins: no page of theirs may read or change anything.
 */
export function notOurs(app: Hono<ApiEnv>) {
  return (c: ApiContext): Response => {
    const { method, path } = c.req;
    const allowed = METHODS.filter((one) =>
      app.router.match(one, path)[0].some(([[, route]]) => route.method === one),
    ).flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one]));
    // A route that has found nothing itself has said so already.
    if (allowed.length === 0 || allowed.some((one) => one === method)) {
      return problemResponse(
        c,
        404,
        'Nothing is here',
        `${method} ${path.slice(0, 200)} is no part of this API; /api/audit-log/docs describes it.`,
      );
    }
    c.header('allow', allowed.join(', '));
    if (method === 'OPTIONS') return c.body(null, 204);
    return problemResponse(
      c,
      405,
      'Not with this method',
      `${path.slice(0, 200)} takes ${allowed.join(', ')}.`,
    );
  };
}
