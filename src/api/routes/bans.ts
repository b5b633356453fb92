import { Hono } from 'hono';
import { NetworkSet, parseAddress } from '../../audit/address.js';
import { sendJson } from '../../control/send-json.js';
import { AuditdError } from '../../errors.js';
import { liftedWords } from '../../fail2ban/client.js';
import { requireScope } from '../access/auth.js';
import type { ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { noParameters, parametersOf } from '../request-schemas.js';

/** `GET /api/bans`, and `DELETE /api/bans/:ip` for admins. */
export function bansRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get('/api/bans', requireScope('read'), async (c) => {
    parametersOf(noParameters, c.req.queries());
    return sendJson(c, { bans: await deps.bans.list() });
  });
  app.delete('/api/bans/:ip', requireScope('admin'), async (c) => {
    const address = addressOf(c.req.param('ip'));
    const by = c.var.identity?.name ?? '';
    const lifted = await deps.bans.unban(address, by);
    deps.log.info({ address, lifted, by }, `${liftedWords(address, lifted)}, as requested by ${by}`);
    return sendJson(c, { unbanned: address, lifted });
  });
  return app;
}

/** An address or a network, in the form in which bans are listed. @throws AuditdError `USAGE` */
function addressOf(text: string): string {
  const address = parseAddress(text);
  if (address !== null) return address;
  try {
    if (text.includes('/') && text.length < 50) {
      new NetworkSet([text]);
      return text;
    }
  } catch {
    // thrown below
  }
  throw new AuditdError('USAGE', `ip: found ${JSON.stringify(text.slice(0, 60))}`, {
    next: 'Give an address as GET /api/bans lists it',
  });
}
