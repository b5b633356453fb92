import { Hono } from 'hono';
import { claimedName } from '../../control/claimed-name.js';
import { sendJson } from '../../control/send-json.js';
import { AuditdError } from '../../errors.js';
import { requireScope } from '../access/auth.js';
import type { TokenInfo } from '../access/tokens.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { newToken } from '../request-schemas.js';

/**
 * `GET`, `POST /api/tokens` and `DELETE /api/tokens/:name`, only over the control socket: the mode of the socket decides who may create
 * tokens, and a stolen token can't create others.
 */
export function tokensRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get('/api/tokens', requireScope('admin'), (c) =>
    sendJson(c, { tokens: deps.tokens.list().map(shownToken) }),
  );
  app.post('/api/tokens', requireScope('admin'), async (c) => {
    const parsed = newToken.safeParse(await c.req.json().catch(() => null));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new AuditdError('USAGE', `${String(issue?.path[0] ?? 'body')}: ${issue?.message ?? 'invalid'}`);
    }
    const { name, scope, expires } = parsed.data;
    const expiresAt = expires === null ? null : deps.clock() + expires;
    const { text, token } = deps.tokens.create({
      name,
      scope,
      expiresAt,
      by: claimedName(c.req.header('x-user')),
    });
    return sendJson(c, { token: text, info: shownToken(token) }, 201);
  });
  app.delete('/api/tokens/:name', requireScope('admin'), (c) => {
    const token = deps.tokens.revoke(c.req.param('name'), claimedName(c.req.header('x-user')));
    return sendJson(c, { revoked: shownToken(token) });
  });
  return app;
}

export interface ShownToken {
  readonly id: string;
  readonly name: string;
  readonly scope: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
}

/** The token as it is shown, with times in ISO 8601. */
export function shownToken({ id, name, scope, created_at, expires_at, last_used_at }: TokenInfo): ShownToken {
  return {
    id,
    name,
    scope,
    created_at: new Date(created_at).toISOString(),
    expires_at: expires_at === null ? null : new Date(expires_at).toISOString(),
    last_used_at: last_used_at === null ? null : new Date(last_used_at).toISOString(),
  };
}
