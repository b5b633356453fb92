import { Hono } from 'hono';
import { identityOf, noteFailure } from '../access/auth.js';
import { isSameOrigin, rejectForeign } from '../access/csrf.js';
import { deleteSessionCookie, safeNext, sessionCookie, setSessionCookie } from '../access/session.js';
import type { ApiContext, ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { LOGIN, LOGOUT, PAGE } from '../paths.js';

/**
 * `POST /audit-log/login` with the form fields `token` and `next` begins a session and redirects to `next`; a wrong token redirects to
 * `/audit-log/login?failed=wrong` (`expired`, `limited`). `POST /audit-log/logout` ends the session. The form itself is in pages/.
 */
export function loginRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.post(LOGIN, async (c) => {
    if (!isSameOrigin(c)) {
      return rejectForeign(c);
    }
    const form = await c.req.parseBody();
    const next = safeNext(typeof form.next === 'string' ? form.next : undefined);
    const verdict = deps.tokens.verify(typeof form.token === 'string' ? form.token.trim() : '');
    if (verdict.state === 'unknown')
      return redirectToLogin(c, noteFailure(c, deps) === null ? 'wrong' : 'limited', next);
    if (verdict.state === 'expired') return redirectToLogin(c, 'expired', next);
    const { token } = verdict;
    const before = sessionCookie(c);
    if (before !== undefined) deps.sessions.end(before); // a session ID from before the login is never reused
    setSessionCookie(c, deps.sessions.begin(token));
    const { id, name } = identityOf(token, 'session');
    const { address } = c.var.client;
    deps.record({
      action: 'auth.login_success',
      user: { name },
      address,
      details: { service: 'postern-auditd', token_id: id },
    });
    return c.redirect(next, 303);
  });
  app.post(LOGOUT, (c) => {
    const before = sessionCookie(c);
    if (before !== undefined) deps.sessions.end(before);
    deleteSessionCookie(c);
    const { identity, client } = c.var;
    if (identity !== null) {
      const details = { service: 'postern-auditd', token_id: identity.id };
      deps.record({ action: 'auth.logout', user: { name: identity.name }, address: client.address, details });
    }
    return c.redirect(LOGIN, 303);
  });
  return app;
}

function redirectToLogin(c: ApiContext, failed: 'wrong' | 'expired' | 'limited', next: string): Response {
  return c.redirect(
    `${LOGIN}?failed=${failed}${next === PAGE ? '' : `&next=${encodeURIComponent(next)}`}`,
    303,
  );
}
