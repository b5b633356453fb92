import { timingSafeEqual } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { ApiContext, ApiEnv } from '../context.js';
import { problemResponse } from '../http/problem.js';

/** The name of the form field. Scripts send the header instead. */
const CSRF_FIELD = 'csrf';
const CSRF_HEADER = 'x-csrf-token';
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Rejects changes that are authorized by a cookie alone. They need the session's CSRF token, in the form or in a header, and an Origin
 * that is this host. Requests with a bearer token need neither, as no browser sends one by itself.
 */
export const guardChanges = createMiddleware<ApiEnv>(async (c, next) => {
  if (SAFE.has(c.req.method) || c.var.identity?.via !== 'session') return next();
  if (!isSameOrigin(c)) return rejectForeign(c);
  const sent = c.req.header(CSRF_HEADER) ?? (await formField(c));
  if (sent === undefined || !isSameText(sent, c.var.csrf)) {
    return problemResponse(
      c,
      403,
      'The form has no valid token',
      'The CSRF token of this session is missing or wrong.',
      {
        next: 'Reload the page and try again',
        parameter: CSRF_FIELD,
      },
    );
  }
  return next();
});

/** Whether the browser reports that the request was sent by a page of this host. False if it reports nothing. */
export function isSameOrigin(c: ApiContext): boolean {
  const origin = c.req.header('origin');
  if (origin === undefined) return c.req.header('sec-fetch-site') === 'same-origin';
  const { secure, host } = c.var.client;
  return origin.toLowerCase() === `${secure ? 'https' : 'http'}://${host.toLowerCase()}`;
}

/** The answer to a change from another origin. Behind an unlisted proxy, our own page looks like one. */
export function rejectForeign(c: ApiContext): Response {
  return problemResponse(
    c,
    403,
    'The request does not come from this page',
    'The header Origin is missing, or names another scheme or host than the request.',
    {
      next: 'Reload the page and try again. A proxy in front of this page must forward the header Host; if it uses https, list it under api.trusted_proxies',
    },
  );
}

async function formField(c: ApiContext): Promise<string | undefined> {
  const type = c.req.header('content-type') ?? '';
  if (!type.startsWith('application/x-www-form-urlencoded') && !type.startsWith('multipart/form-data'))
    return undefined;
  const form = await c.req.parseBody();
  const field = form[CSRF_FIELD];
  return typeof field === 'string' ? field : undefined;
}

function isSameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return b !== '' && left.length === right.length && timingSafeEqual(left, right);
}
