import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type Database from 'better-sqlite3';
import { withOwnState } from '../../control/offline-state.js';
import { AuditdError } from '../../errors.js';
import { createRecorder, type Recorder } from '../../recorder/recorder.js';

export const SCOPES = ['read', 'admin'] as const;
/** `admin` includes `read`, and can make changes. */
export type Scope = (typeof SCOPES)[number];

/** The stored data of a token, without its secret. Times in milliseconds since the epoch. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly created_at: number;
  /** Null: never expires. */
  readonly expires_at: number | null;
  /** To the minute; null: never used. */
  readonly last_used_at: number | null;
}

/** The result of verifying a token. */
export type TokenVerdict =
  | { readonly state: 'valid'; readonly token: TokenInfo }
  /** The token was valid once: a forgotten script, not an attacker who guesses. */
  | { readonly state: 'expired'; readonly token: TokenInfo }
  | { readonly state: 'unknown' };

export interface Tokens {
  verify(presented: string): TokenVerdict;
  /** Null if it was revoked or has expired. */
  get(id: string): TokenInfo | null;
  list(): TokenInfo[];
  /** Creates a token, whose text is shown this once. @throws AuditdError `USAGE` if the name is invalid, `CONFLICT` if it is taken */
  create(wanted: NewToken): { readonly text: string; readonly token: TokenInfo };
  /** Revokes a token by name or ID. @throws AuditdError `NOT_FOUND` */
  revoke(nameOrId: string, by: string | null): TokenInfo;
}

export interface NewToken {
  readonly name: string;
  readonly scope: Scope;
  readonly expiresAt: number | null;
  /** Who creates it, for the audit event. */
  readonly by: string | null;
}

export interface TokenStoreOptions {
  /** state.db, which has the table `token`. */
  readonly db: Database.Database;
  readonly recorder: Recorder;
  readonly clock: () => number;
  /** Called when events were recorded and committed. */
  readonly onRecorded?: () => void;
}

const PREFIX = 'pat';
const FORM = /^pat_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const NAME = /^[A-Za-z0-9][\w .@-]{0,63}$/;
/** How much the last use in the database may lag. */
const USE_MS = 60_000;
const NONE = Buffer.alloc(32);

interface Row {
  readonly id: string;
  readonly name: string;
  readonly scope: string;
  readonly hash: Buffer;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly last_used_at: number | null;
}

/**
 * Tokens in state.db: an ID for the lookup, and SHA-256 of 256 random bits. A fast hash is enough: a slow one protects guessable secrets,
 * and these are not guessable.
 */
export class TokenStore implements Tokens {
  private readonly byId: Database.Statement<[string], Row>;
  private readonly updateLastUse: Database.Statement<[number, string]>;
  private readonly lastWritten = new Map<string, number>();

  constructor(private readonly options: TokenStoreOptions) {
    const { db } = options;
    this.byId = db.prepare('SELECT * FROM token WHERE id = ?');
    this.updateLastUse = db.prepare('UPDATE token SET last_used_at = ? WHERE id = ?');
  }

  verify(presented: string): TokenVerdict {
    const [, id = '', secret = ''] = FORM.exec(presented) ?? [];
    const row = id === '' ? undefined : this.byId.get(id);
    const same = timingSafeEqual(hashOf(secret), row?.hash ?? NONE);
    if (row === undefined || !same) return { state: 'unknown' };
    const now = this.options.clock();
    if (row.expires_at !== null && row.expires_at <= now) return { state: 'expired', token: tokenInfo(row) };
    this.recordUse(row, now);
    return { state: 'valid', token: tokenInfo(row) };
  }

  get(id: string): TokenInfo | null {
    const row = this.byId.get(id);
    if (row === undefined || (row.expires_at !== null && row.expires_at <= this.options.clock())) return null;
    return tokenInfo(row);
  }

  list(): TokenInfo[] {
    const rows = this.options.db.prepare<[], Row>('SELECT * FROM token ORDER BY created_at, id').all();
    return rows.map(tokenInfo);
  }

  create({ name, scope, expiresAt, by }: NewToken): { text: string; token: TokenInfo } {
    const { db, recorder, clock, onRecorded } = this.options;
    if (!NAME.test(name)) {
      throw new AuditdError('USAGE', `${JSON.stringify(name.slice(0, 80))} is not a valid token name`, {
        next: 'Give at most 64 letters, digits, spaces and . _ - @, a letter or digit first',
      });
    }
    if (this.list().some((token) => token.name === name)) {
      throw new AuditdError('CONFLICT', `A token named ${name} exists already`, {
        next: 'Revoke it first, or give another name',
      });
    }
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    const now = clock();
    const token = { id, name, scope, created_at: now, expires_at: expiresAt, last_used_at: null };
    db.transaction(() => {
      db.prepare(
        'INSERT INTO token (id, name, scope, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
      ).run(id, name, scope, hashOf(secret), now, expiresAt);
      recorder.record({
        action: 'auth.token_create',
        resourceId: id,
        user: { name: by },
        details: { name, scope, expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString() },
      });
    })();
    onRecorded?.();
    return { text: `${PREFIX}_${id}_${secret}`, token };
  }

  revoke(nameOrId: string, by: string | null): TokenInfo {
    const { db, recorder, onRecorded } = this.options;
    const found = this.list().find(({ name, id }) => name === nameOrId || id === nameOrId);
    if (found === undefined) {
      throw new AuditdError('NOT_FOUND', `No token is named ${JSON.stringify(nameOrId.slice(0, 80))}`, {
        next: 'List the tokens with: postern-auditd token list',
      });
    }
    db.transaction(() => {
      db.prepare('DELETE FROM token WHERE id = ?').run(found.id);
      recorder.record({
        action: 'auth.token_delete',
        resourceId: found.id,
        user: { name: by },
        details: { name: found.name, scope: found.scope },
      });
    })();
    this.lastWritten.delete(found.id);
    onRecorded?.();
    return found;
  }

  /** Writes the last use once a minute at most, so that a client with a hundred requests a second costs no writes. */
  private recordUse({ id, last_used_at: last }: Row, now: number): void {
    const before = Math.max(this.lastWritten.get(id) ?? 0, last ?? 0);
    if (now - before < USE_MS && now >= before) return;
    this.lastWritten.set(id, now);
    try {
      this.updateLastUse.run(now, id);
    } catch {
      // a full disk must not lock users out; retried in a minute
    }
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function tokenInfo({ id, name, scope, created_at, expires_at, last_used_at }: Row): TokenInfo {
  return { id, name, scope: scope === 'admin' ? 'admin' : 'read', created_at, expires_at, last_used_at };
}

/**
 * Works on the tokens while no daemon runs: as the owner of its state, and under the lock of that state, so that no daemon starts meanwhile.
 *
 * @param directory the directory of state.db. It must exist: created here, it would belong to the wrong user
 * @throws AuditdError `LOCKED`, `NOT_RUNNING`, or what `work` throws
 */
export function withTokens<T>(directory: string, work: (tokens: TokenStore) => T): T {
  return withOwnState(directory, ({ db }) =>
    work(new TokenStore({ db, clock: Date.now, recorder: createRecorder(db) })),
  );
}
