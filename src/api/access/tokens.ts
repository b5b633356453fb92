import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type Database from 'better-sqlite3';
import { withOwnState } from '../../control/offline-state.js';
import { AuditdError } from '../../errors.js';
import { createRecorder, type Recorder } from '../../recorder/recorder.js';

export const SCOPES = ['read', 'admin'] as const;
/** `admin` may do what `read` may, and change things. */
export type Scope = (typeof SCOPES)[number];

/** What is known of a token; the token itself is not. Times in milliseconds since the epoch. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly created_at: number;
  /** Null: never. */
  readonly expires_at: number | null;
  /** To the minute; null: not yet. */
  readonly last_used_at: number | null;
}

/** What a token that was presented turned out to be. */
export type TokenVerdict =
  | { readonly state: 'valid'; readonly token: TokenInfo }
  /** It was right once: a forgotten script, nobody who guesses. */
  | { readonly state: 'expired'; readonly token: TokenInfo }
  | { readonly state: 'unknown' };

export interface Tokens {
  verify(presented: string): TokenVerdict;
  /** Null if it was revoked or has expired. */
  get(id: string): TokenInfo | null;
  list(): TokenInfo[];
  /** The text is shown this once. @throws AuditdError `USAGE` if the name is taken or none */
  create(wanted: NewToken): { readonly text: string; readonly token: TokenInfo };
  /** By name or id. @throws AuditdError `NOT_FOUND` */
  revoke(nameOrId: string, by: string | null): TokenInfo;
}

export interface NewToken {
  readonly name: string;
  readonly scope: Scope;
  readonly expiresAt: number | null;
  /** Who makes it, for the record. */
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
/** How late the last use may be in the database. */
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
 * Tokens in state.db: an id to find it by, and SHA-256 of 256 random bits. A fast hash is right for that: there is nothing to guess
 * that a slow one would protect.
 */
export class TokenStore implements Tokens {
  private readonly byId: Database.Statement<[string], Row>;
  private readonly use: Database.Statement<[number, string]>;
  private readonly written = new Map<string, number>();

  constructor(private readonly options: TokenStoreOptions) {
    const { db } = options;
    this.byId = db.prepare('SELECT * FROM token WHERE id = ?');
    this.use = db.prepare('UPDATE token SET last_used_at = ? WHERE id = ?');
  }

  verify(presented: string): TokenVerdict {
    const [, id = '', secret = ''] = FORM.exec(presented) ?? [];
    const row = id === '' ? undefined : this.byId.get(id);
    const same = timingSafeEqual(hashOf(secret), row?.hash ?? NONE);
    if (row === undefined || !same) return { state: 'unknown' };
    const now = this.options.clock();
    if (row.expires_at !== null && row.expires_at <= now) return { state: 'expired', token: infoOf(row) };
    this.used(row, now);
    return { state: 'valid', token: infoOf(row) };
  }

  get(id: string): TokenInfo | null {
    const row = this.byId.get(id);
    if (row === undefined || (row.expires_at !== null && row.expires_at <= this.options.clock())) return null;
    return infoOf(row);
  }

  list(): TokenInfo[] {
    const rows = this.options.db.prepare<[], Row>('SELECT * FROM token ORDER BY created_at, id').all();
    return rows.map(infoOf);
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
    this.written.delete(found.id);
    onRecorded?.();
    return found;
  }

  /** Written once a minute at most: a client that asks a hundred times a second costs no writes. */
  private used({ id, last_used_at: last }: Row, now: number): void {
    const before = Math.max(this.written.get(id) ?? 0, last ?? 0);
    if (now - before < USE_MS && now >= before) return;
    this.written.set(id, now);
    try {
      this.use.run(now, id);
    } catch {
      // a full disk must lock nobody out; it is tried again in a minute
    }
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function infoOf({ id, name, scope, created_at, expires_at, last_used_at }: Row): TokenInfo {
  return { id, name, scope: scope === 'admin' ? 'admin' : 'read', created_at, expires_at, last_used_at };
}

/**
 * Works on the tokens while no daemon runs: under the lock of its state, so that no daemon starts meanwhile, and as the owner of its state.
 *
 * @param directory the directory of state.db, which must exist: created here it would belong to the wrong user
 * @throws AuditdError `LOCKED`, `NOT_RUNNING`, or what `work` throws
 */
export function withTokens<T>(directory: string, work: (tokens: TokenStore) => T): T {
  return withOwnState(directory, ({ db }) =>
    work(new TokenStore({ db, clock: Date.now, recorder: createRecorder(db) })),
  );
}
