import { createMiddleware } from 'hono/factory';
import type { ApiContext, ApiEnv, Caller } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { problemResponse } from '../http/problem.js';
import { LOGIN } from '../paths.js';
import { sessionCookie } from './session.js';
import type { Scope, TokenInfo } from './tokens.js';

/** The caller of every request over the control socket, whose file mode decides who may connect. */
const SOCKET: Caller = { id: 'socket', name: 'control socket', scope: 'admin', via: 'socket' };

const BEARER = /^Bearer(?:\s|$)/i;

export interface AuthOptions {
  readonly deps: ApiDeps;
  readonly channel: 'http' | 'socket';
}

/**
 * Identifies the caller by bearer token, session cookie or control socket. A wrong token ends the request here. A missing token does not,
 * nor does an Authorization header of another scheme, which a proxy with its own password forwards.
 */
export function identify({ deps, channel }: AuthOptions) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    c.set('csrf', '');
    c.set('identity', null);
    if (channel === 'socket') {
      c.set('identity', SOCKET);
      return next();
    }
    const header = c.req.header('authorization');
    if (header !== undefined && BEARER.test(header)) {
      const presented = /^Bearer +(\S+) *$/i.exec(header)?.[1] ?? '';
      const verdict = presented === '' ? ({ state: 'unknown' } as const) : deps.tokens.verify(presented);
      if (verdict.state === 'expired') {
        deps.metrics.authFailures.inc({ answer: 'expired' });
        return expired(c, verdict.token);
      }
      if (verdict.state === 'unknown') return failed(c, deps);
      c.set('identity', identityOf(verdict.token, 'token'));
      return next();
    }
    const cookie = sessionCookie(c);
    const found = cookie === undefined ? null : deps.sessions.find(cookie, deps.tokens);
    if (found !== null) {
      c.set('identity', identityOf(found.token, 'session'));
      c.set('csrf', found.session.csrf);
    }
    return next();
  });
}

/** Requires a scope: 401 without an identity, 403 if its scope is too low. */
export function requireScope(scope: Scope) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const { identity } = c.var;
    if (identity === null) {
      c.header('www-authenticate', CHALLENGE);
      return problemResponse(c, 401, 'A token is needed', 'The request has no token.', {
        next: 'Send "Authorization: Bearer TOKEN". Create a token with: postern-auditd token create NAME',
      });
    }
    if (scope === 'admin' && identity.scope !== 'admin') {
      return problemResponse(
        c,
        403,
        'This token may only read',
        `${identity.name} has scope ${identity.scope}.`,
        { next: 'Use a token of scope admin' },
      );
    }
    return next();
  });
}

const CHALLENGE = 'Bearer realm="postern-auditd"';

/** Counts, records and rejects a failed attempt. The answer does not say whether the token ever existed. */
function failed(c: ApiContext, deps: ApiDeps): Response {
  const retryAfter = noteFailure(c, deps);
  c.header('www-authenticate', `${CHALLENGE}, error="invalid_token"`);
  if (retryAfter !== null) {
    c.header('retry-after', String(retryAfter));
    return problemResponse(
      c,
      429,
      'Too many failed attempts',
      'Too many failed attempts from this address.',
      {
        next: `Try again in ${retryAfter} s`,
      },
    );
  }
  return problemResponse(c, 401, 'The token is not valid', 'The token is unknown or was revoked.', {
    next: 'Create one with: postern-auditd token create NAME',
  });
}

/** @returns seconds to wait if there were too many attempts from this address, else null */
export function noteFailure(c: ApiContext, deps: ApiDeps): number | null {
  const { address } = c.var.client;
  const { record, retryAfter } = deps.failures.note(address);
  deps.metrics.authFailures.inc({ answer: retryAfter === null ? 'wrong' : 'limited' });
  if (record) {
    deps.metrics.authFailuresRecorded.inc();
    deps.record({
      action: 'auth.login_failure',
      address,
      server: deps.server,
      details: { service: 'postern-auditd', method: c.req.path === LOGIN ? 'page' : 'bearer' },
    });
  }
  return retryAfter;
}

function expired(c: ApiContext, { name, expires_at: at }: TokenInfo): Response {
  c.header('www-authenticate', `${CHALLENGE}, error="invalid_token", error_description="expired"`);
  const when = at === null ? '' : ` on ${new Date(at).toISOString().slice(0, 10)}`;
  return problemResponse(c, 401, 'The token has expired', `Token ${name} expired${when}.`, {
    next: 'Create another with: postern-auditd token create NAME',
  });
}

export function identityOf({ id, name, scope }: TokenInfo, via: Caller['via']): Caller {
  return { id, name, scope, via };
}
