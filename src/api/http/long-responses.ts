import { sessionCookie } from '../access/session.js';
import type { ApiContext } from '../context.js';
import type { ApiDeps } from '../deps.js';

/** A long answer ends about this long after its token was revoked. */
const CHECK_INTERVAL_MS = 1_000;

/** Checks whether the caller of a long answer still has access. Looks it up once a second at most. */
export function accessCheck(c: ApiContext, { tokens, sessions }: ApiDeps): () => boolean {
  const { identity } = c.var;
  const cookie = identity?.via === 'session' ? sessionCookie(c) : undefined;
  const look = () => {
    if (identity === null) return false;
    if (identity.via === 'socket') return true;
    if (identity.via === 'token') return tokens.get(identity.id) !== null;
    return cookie !== undefined && sessions.isValid(cookie, tokens);
  };
  let [checkedAt, hasAccess] = [performance.now(), true];
  return () => {
    if (performance.now() - checkedAt < CHECK_INTERVAL_MS) return hasAccess;
    [checkedAt, hasAccess] = [performance.now(), look()];
    return hasAccess;
  };
}

/**
 * Calls `gone` when the connection is closed or the answer is sent, at once if that has happened already. The code that sends a stream checks
 * this too late: it never cancels the stream of a client that disconnects right after its request.
 */
export function onDisconnect(c: ApiContext, gone: () => void): void {
  const { outgoing } = c.env;
  if (outgoing.destroyed) gone();
  else outgoing.once('close', gone);
}

/** Restarts the idle timeout of the connection (listener.ts). */
export function touchConnection(c: ApiContext): void {
  const { socket } = c.env.incoming;
  socket.setTimeout(socket.timeout ?? 0);
}
