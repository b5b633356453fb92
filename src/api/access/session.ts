import { createHash, randomBytes } from 'node:crypto';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { createMiddleware } from 'hono/factory';
import type { ApiContext, ApiEnv } from '../context.js';
import { LOGIN, PAGE } from '../paths.js';
import type { TokenInfo, Tokens } from './tokens.js';

/** A browser that has logged in with a token. */
export interface BrowserSession {
  readonly tokenId: string;
  /** Goes into every form that changes something. */
  readonly csrf: string;
}

interface StaleCache extends BrowserSession {
  readonly begun: number;
  seen: number;
}

const IDLE_MS = 3_600_000;
const LONGEST_MS = 12 * 3_600_000;
/** The least recently used ones go first. */
const MOST = 500;

/**
 * Sessions in memory: gone with the daemon, and with the token that they were begun with. Ids are 256 random bits; what is kept is
 * their hash.
 */
export class Sessions {
  private readonly kept = new Map<string, StaleCache>();

  constructor(private readonly clock: () => number) {}

  get size(): number {
    return this.kept.size;
  }

  /** @returns the id, for the cookie */
  begin(token: TokenInfo): string {
    const now = this.clock();
    for (const [key, session] of this.kept) if (this.isOver(session, now)) this.kept.delete(key);
    const [oldest] = this.kept.keys();
    if (this.kept.size >= MOST && oldest !== undefined) this.kept.delete(oldest);
    const id = randomBytes(32).toString('base64url');
    this.kept.set(keyOf(id), {
      tokenId: token.id,
      csrf: randomBytes(32).toString('base64url'),
      begun: now,
      seen: now,
    });
    return id;
  }

  /** The session and its token, if both are still good. */
  find(id: string, tokens: Tokens): { readonly session: BrowserSession; readonly token: TokenInfo } | null {
    const key = keyOf(id);
    const session = this.kept.get(key);
    if (session === undefined) return null;
    const now = this.clock();
    const token = this.isOver(session, now) ? null : tokens.get(session.tokenId);
    this.kept.delete(key);
    if (token === null) return null;
    session.seen = now;
    this.kept.set(key, session); // to the end: the most recently used
    return { session, token };
  }

  /** Whether it is still good; no use of it. */
  holds(id: string, tokens: Tokens): boolean {
    const session = this.kept.get(keyOf(id));
    return (
      session !== undefined && !this.isOver(session, this.clock()) && tokens.get(session.tokenId) !== null
    );
  }

  end(id: string): void {
    this.kept.delete(keyOf(id));
  }

  private isOver({ begun, seen }: StaleCache, now: number): boolean {
    return now - seen > IDLE_MS || now - begun > LONGEST_MS || now < begun;
  }
}

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64');
}

const COOKIE = 'postern_auditd';

/** With TLS the name alone says that it came over TLS, for this host and all paths (RFC 6265bis section 4.1.3). */
function options(secure: boolean) {
  const shared = { httpOnly: true, sameSite: 'Strict', path: '/', secure } as const;
  return secure ? ({ ...shared, prefix: 'host' } as const) : shared;
}

export function sessionCookie(c: ApiContext): string | undefined {
  return c.var.client.secure ? getCookie(c, COOKIE, 'host') : getCookie(c, COOKIE);
}

export function giveSession(c: ApiContext, id: string): void {
  setCookie(c, COOKIE, id, { ...options(c.var.client.secure), maxAge: LONGEST_MS / 1_000 });
}

export function takeSession(c: ApiContext): void {
  deleteCookie(c, COOKIE, options(c.var.client.secure));
}

/** For pages: who has no session is sent to /login and comes back from there. */
export const requireSession = createMiddleware<ApiEnv>(async (c, next) => {
  if (c.var.identity !== null) return next();
  const { pathname, search } = new URL(c.req.url);
  const wanted = c.req.method === 'GET' ? `?next=${encodeURIComponent(pathname + search)}` : '';
  return c.redirect(`${LOGIN}${wanted}`, 303);
});

/** A view of the page to go back to, as it can stand in a header; anything else is its first one. */
export function safeNext(text: string | undefined): string {
  const isOurs =
    text !== undefined && text.length <= 2_000 && /^\/audit-log(?:\?[\x21-\x5b\x5d-\x7e]*)?$/.test(text);
  return isOurs ? text : PAGE;
}
