import type { FileIdentity } from '../file.js';

/** A row to be deleted: its id, and `rowHash` of it as it stands in its archive. */
export type Named = readonly [id: number, hash: string];

/** Each request is a line of JSON, and so is each answer. */
export type Request =
  /** `file` (`fileAt`): only if that is the database. */
  { readonly rows: readonly Named[]; readonly file?: FileIdentity } | { readonly end: true };

/** What became of the rows of one request. */
export interface Purged {
  readonly deleted: number;
  /** Were not there any more. */
  readonly gone: number;
  /** Are not the rows that were archived: they stay. */
  readonly differ: number;
  /** Stay because of their age, by this process's own reading of the configuration, or as the newest row of the table. */
  readonly young: number;
  /** Which these are, of this one request. */
  readonly young_ids: readonly number[];
  /** The longest that the write lock was held, ms. */
  readonly lock_ms: number;
  readonly commits: number;
  /** How often somebody else held the lock. */
  readonly busy: number;
}

/** What is left to do for the space of the rows that are gone. */
export interface Space {
  /** As `PRAGMA auto_vacuum`. */
  readonly auto_vacuum: 'none' | 'full' | 'incremental';
  /** Bytes that the file holds and does not use. */
  readonly free_bytes: number;
  readonly lock_ms: number;
}

export type Answer = { readonly purged: Purged } | { readonly space: Space } | { readonly error: string };

export const NOTHING: Purged = {
  deleted: 0,
  gone: 0,
  differ: 0,
  young: 0,
  young_ids: [],
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
    young_ids: b.young_ids.length === 0 ? a.young_ids : [...a.young_ids, ...b.young_ids],
    lock_ms: Math.max(a.lock_ms, b.lock_ms),
    commits: a.commits + b.commits,
    busy: a.busy + b.busy,
  };
}

/** More rows than this are no request of ours. */
export const MOST_ROWS = 5_000;
/** A line that is longer is none of ours. */
export const LONGEST_LINE = 1024 * 1024;

/** @throws Error that says what is wrong with it */
export function parseRequest(line: string): Request {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null) throw new Error('no request');
  if ('end' in value && value.end === true) return { end: true };
  if (!('rows' in value) || !Array.isArray(value.rows) || value.rows.length > MOST_ROWS)
    throw new Error('no request');
  const rows = value.rows.map(named);
  if (!('file' in value)) return { rows };
  if (typeof value.file !== 'string') throw new Error('no request');
  return { rows, file: value.file };
}

function named(value: unknown): Named {
  const [id, hash] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  if (
    typeof id === 'number' &&
    Number.isSafeInteger(id) &&
    typeof hash === 'string' &&
    /^[0-9a-f]{32}$/.test(hash)
  )
    return [id, hash];
  throw new Error('a row without its id and hash');
}
