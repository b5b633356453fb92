import { sessionCookie } from '../access/session.js';
import type { ApiContext } from '../context.js';
import type { ApiDeps } from '../deps.js';

/** An answer that goes on after its token was revoked ends within about this long. */
const LOOKED_MS = 1_000;

/** Whether who was let in still would be, for answers that go on for long: looked up again once a second at most. */
export function accessCheck(c: ApiContext, { tokens, sessions }: ApiDeps): () => boolean {
  const { identity } = c.var;
  const cookie = identity?.via === 'session' ? sessionCookie(c) : undefined;
  const look = () => {
    if (identity === null) return false;
    if (identity.via === 'socket') return true;
    if (identity.via === 'token') return tokens.get(identity.id) !== null;
    return cookie !== undefined && sessions.holds(cookie, tokens);
  };
  let [looked, good] = [performance.now(), true];
  return () => {
    if (performance.now() - looked < LOOKED_MS) return good;
    [looked, good] = [performance.now(), look()];
    return good;
  };
}

/**
 * Calls when the connection is closed or the answer sent, at once if it was before: what sends a stream looks for that too late, and never
 * cancels one of a client who went right after asking.
 */
export function onDisconnect(c: ApiContext, gone: () => void): void {
  const { outgoing } = c.env;
  if (outgoing.destroyed) gone();
  else outgoing.once('close', gone);
}

/** Counts as movement on the connection, which is closed where nothing moves for long (listener.ts). */
export function touchConnection(c: ApiContext): void {
  const { socket } = c.env.incoming;
  socket.setTimeout(socket.timeout ?? 0);
}
