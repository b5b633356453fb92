import { AuditdError } from '../../errors.js';
import { daemonCommand } from '../../next-steps.js';
import type { KnownRecord } from '../archive/legal-hold-records.js';
import type { ErrorParts } from '../error-parts.js';
import type { FileIdentity } from '../file-identity.js';

/** A row of our own table to delete: its id, and the `rowHash` of its archived copy. */
export type RowToDelete = readonly [id: number, hash: string];

/** Rows to delete: a block of an archive, which the purge reads itself. */
export interface Piece {
  /** Name of the manifest. */
  readonly archive: string;
  /** The manifest's own hash, which identifies the archive. */
  readonly sha256: string;
  /** From 0. */
  readonly block: number;
  /** Rows with this id or a higher one stay. */
  readonly below: number;
}

/** Requests and answers are lines of JSON. `file` (`fileAt`): the request is valid only for this database. */
export type PurgeRequest =
  /** Named differently than in versions without legal holds: a purge of such a version rejects it. */
  | ({ readonly archived: Piece } & About)
  /** Only checks whether rows can be deleted. */
  | ({ readonly probe: true } & About)
  | { readonly end: true };

interface About {
  readonly file?: FileIdentity;
  /** Records of legal holds that must exist, as recorded by the daemon. */
  readonly holds: readonly KnownRecord[];
}

/** The outcome for the rows of one request. */
export interface Purged {
  readonly deleted: number;
  /** Rows already gone. */
  readonly gone: number;
  /** Rows that stay because they differ from the archived ones. */
  readonly differ: number;
  /** Rows that stay because of their age, by this process's own reading of the configuration, or as the newest row of the table. */
  readonly young: number;
  /** Rows that SQLite did not delete, or that a trigger put back. */
  readonly kept: number;
  /** Ids of the `young` and `kept` rows of this request. */
  readonly refused_ids: readonly number[];
  /** Rows that were not to be deleted (`below`). */
  readonly held: number;
  /** Rows that stay because of a legal hold. */
  readonly legal_hold: number;
  /** The longest time that the write lock was held, ms. */
  readonly lock_ms: number;
  readonly commits: number;
  /** How often another process held the lock. */
  readonly busy: number;
}

/** How the space of deleted rows can be freed. */
export interface FreedSpace {
  /** The value of `PRAGMA auto_vacuum`. */
  readonly auto_vacuum: 'none' | 'full' | 'incremental';
  /** Unused bytes in the file. */
  readonly free_bytes: number;
  readonly lock_ms: number;
}

export type PurgeReply =
  | { readonly purged: Purged }
  | { readonly space: FreedSpace }
  /** Earlier versions send and read only the text. */
  | ({ readonly error: string } & Partial<ErrorParts>);

export const NOTHING: Purged = {
  deleted: 0,
  gone: 0,
  differ: 0,
  young: 0,
  kept: 0,
  refused_ids: [],
  held: 0,
  legal_hold: 0,
  lock_ms: 0,
  commits: 0,
  busy: 0,
};

export function sum(a: Purged, b: Purged): Purged {
  return {
    deleted: a.deleted + b.deleted,
    gone: a.gone + b.gone,
    differ: a.differ + b.differ,
    young: a.young + b.young,
    kept: a.kept + b.kept,
    refused_ids: b.refused_ids.length === 0 ? a.refused_ids : [...a.refused_ids, ...b.refused_ids],
    held: a.held + b.held,
    legal_hold: a.legal_hold + b.legal_hold,
    lock_ms: Math.max(a.lock_ms, b.lock_ms),
    commits: a.commits + b.commits,
    busy: a.busy + b.busy,
  };
}

/** A longer line is not ours. */
export const MAX_MESSAGE = 1024 * 1024;

/** @throws AuditdError `PURGE_FAILED` */
export function parseRequest(line: string): PurgeRequest {
  const value = fieldsOf(parsed(line));
  if (value.end === true) return { end: true };
  const { file, probe, archived } = value;
  if (file !== undefined && typeof file !== 'string') throw unknownRequest();
  const about = { holds: holdsOf(value.holds), ...(file === undefined ? {} : { file }) };
  if (probe === true) return { probe, ...about };
  const { archive, sha256, block, below } = fieldsOf(archived);
  if (typeof archive === 'string' && isHash(sha256) && isNumber(block) && isNumber(below))
    return { archived: { archive, sha256, block, below }, ...about };
  throw unknownRequest();
}

function holdsOf(value: unknown): KnownRecord[] {
  if (!Array.isArray(value)) throw unknownRequest();
  return value.map((one) => {
    const { number, sha256 } = fieldsOf(one);
    if (!isNumber(number) || number < 1 || !isHash(sha256)) throw unknownRequest();
    return { number, sha256 };
  });
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw unknownRequest();
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw unknownRequest();
}

function unknownRequest(): AuditdError {
  return new AuditdError('PURGE_FAILED', 'The purge of this version does not know the request', {
    next: `Restart the daemon if it was upgraded: ${daemonCommand('restart')}`,
  });
}
