import { AuditdError } from '../../errors.js';
import type { KnownRecord } from '../archive/legal-hold-records.js';
import type { ErrorParts } from '../error-parts.js';
import type { FileIdentity } from '../file-identity.js';

/** A row of our own table to be deleted: its id, and `rowHash` of it as it stands in its archive. */
export type RowToDelete = readonly [id: number, hash: string];

/** Rows to be deleted: a block of an archive, which the purge reads itself. */
export interface Piece {
  /** Name of the manifest. */
  readonly archive: string;
  /** That the manifest says of itself: it is this very archive that is meant. */
  readonly sha256: string;
  /** From 0. */
  readonly block: number;
  /** Rows with an id from here on stay. */
  readonly below: number;
}

/** Each request is a line of JSON, and so is each answer. `file` (`fileAt`): only if that is the database. */
export type PurgeRequest =
  /** Under another name than in versions that knew no legal holds: a purge of such a version refuses it. */
  | ({ readonly archived: Piece } & About)
  /** Only tries whether rows can be deleted. */
  | ({ readonly probe: true } & About)
  | { readonly end: true };

interface About {
  readonly file?: FileIdentity;
  /** Records of legal holds that must be there, as the daemon has recorded them. */
  readonly holds: readonly KnownRecord[];
}

/** What became of the rows of one request. */
export interface Purged {
  readonly deleted: number;
  /** Were not there any more. */
  readonly gone: number;
  /** Are not the rows that were archived: they stay. */
  readonly differ: number;
  /** Stay because of their age, by this process's own reading of the configuration, or as the newest row of the table. */
  readonly young: number;
  /** SQLite has not deleted them, or a trigger has put them back. */
  readonly kept: number;
  /** `young` and `kept`: which these are, of this one request. */
  readonly refused_ids: readonly number[];
  /** Were not to be deleted: `below`. */
  readonly held: number;
  /** Stay because of a legal hold. */
  readonly legal_hold: number;
  /** The longest that the write lock was held, ms. */
  readonly lock_ms: number;
  readonly commits: number;
  /** How often somebody else held the lock. */
  readonly busy: number;
}

/** What is left to do for the space of the rows that are gone. */
export interface FreedSpace {
  /** As `PRAGMA auto_vacuum`. */
  readonly auto_vacuum: 'none' | 'full' | 'incremental';
  /** Bytes that the file holds and does not use. */
  readonly free_bytes: number;
  readonly lock_ms: number;
}

export type PurgeReply =
  | { readonly purged: Purged }
  | { readonly space: FreedSpace }
  /** Versions before sent the text alone, and read nothing else. */
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

/** A line that is longer is none of ours. */
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
    next: 'Restart the daemon if it was upgraded: systemctl restart postern-auditd',
  });
}
