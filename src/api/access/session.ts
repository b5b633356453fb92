import { createHash, randomBytes } from 'node:crypto';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { createMiddleware } from 'hono/factory';
import type { ApiContext, ApiEnv } from '../context.js';
import { LOGIN, PAGE } from '../paths.js';
import type { TokenInfo, Tokens } from './tokens.js';

/** The session of a browser that logged in with a token. */
export interface BrowserSession {
  readonly tokenId: string;
  /** The CSRF token: a hidden field of every form that makes a change. */
  readonly csrf: string;
}

interface StoredSession extends BrowserSession {
  readonly begun: number;
  seen: number;
}

const IDLE_MS = 3_600_000;
const LONGEST_MS = 12 * 3_600_000;
/** Sessions at most. The least recently used one is dropped first. */
const MOST = 500;

/**
 * Sessions in memory. A session ends with the daemon, and with the token that it began with. An ID has 256 random bits; only its hash is
 * kept.
 */
export class Sessions {
  private readonly stored = new Map<string, StoredSession>();

  constructor(private readonly clock: () => number) {}

  get size(): number {
    return this.stored.size;
  }

  /** Begins a session. @returns its ID, for the cookie */
  begin(token: TokenInfo): string {
    const now = this.clock();
    for (const [key, session] of this.stored) if (this.isExpired(session, now)) this.stored.delete(key);
    const [oldest] = this.stored.keys();
    if (this.stored.size >= MOST && oldest !== undefined) this.stored.delete(oldest);
    const id = randomBytes(32).toString('base64url');
    this.stored.set(keyOf(id), {
      tokenId: token.id,
      csrf: randomBytes(32).toString('base64url'),
      begun: now,
      seen: now,
    });
    return id;
  }

  /** The session and its token, if both are valid. Counts as use of the session. */
  find(id: string, tokens: Tokens): { readonly session: BrowserSession; readonly token: TokenInfo } | null {
    const key = keyOf(id);
    const session = this.stored.get(key);
    if (session === undefined) return null;
    const now = this.clock();
    const token = this.isExpired(session, now) ? null : tokens.get(session.tokenId);
    this.stored.delete(key);
    if (token === null) return null;
    session.seen = now;
    this.stored.set(key, session); // to the end: the most recently used
    return { session, token };
  }

  /** Whether the session and its token are valid. Does not count as use. */
  isValid(id: string, tokens: Tokens): boolean {
    const session = this.stored.get(keyOf(id));
    return (
      session !== undefined && !this.isExpired(session, this.clock()) && tokens.get(session.tokenId) !== null
    );
  }

  end(id: string): void {
    this.stored.delete(keyOf(id));
  }

  private isExpired({ begun, seen }: StoredSession, now: number): boolean {
    return now - seen > IDLE_MS || now - begun > LONGEST_MS || now < begun;
  }
}

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64');
}

const COOKIE = 'postern_auditd';

/** With TLS, the prefix `__Host-` of the name guarantees that the cookie was set over TLS, for this host and all paths (RFC 6265bis section 4.1.3). */
function cookieOptions(secure: boolean) {
  const shared = { httpOnly: true, sameSite: 'Strict', path: '/', secure } as const;
  return secure ? ({ ...shared, prefix: 'host' } as const) : shared;
}

export function sessionCookie(c: ApiContext): string | undefined {
  return c.var.client.secure ? getCookie(c, COOKIE, 'host') : getCookie(c, COOKIE);
}

export function setSessionCookie(c: ApiContext, id: string): void {
  setCookie(c, COOKIE, id, { ...cookieOptions(c.var.client.secure), maxAge: LONGEST_MS / 1_000 });
}

export function deleteSessionCookie(c: ApiContext): void {
  deleteCookie(c, COOKIE, cookieOptions(c.var.client.secure));
}

/** For pages: redirects to the login without a session; the login redirects back. */
export const requireSession = createMiddleware<ApiEnv>(async (c, next) => {
  if (c.var.identity !== null) return next();
  const { pathname, search } = new URL(c.req.url);
  const wanted = c.req.method === 'GET' ? `?next=${encodeURIComponent(pathname + search)}` : '';
  return c.redirect(`${LOGIN}${wanted}`, 303);
});

/** The view of the page to redirect to, if it is safe in a header; the first view otherwise. */
export function safeNext(text: string | undefined): string {
  const isOurs =
    text !== undefined && text.length <= 2_000 && /^\/audit-log(?:\?[\x21-\x5b\x5d-\x7e]*)?$/.test(text);
  return isOurs ? text : PAGE;
}
