import type { Database } from 'better-sqlite3';
import type { AuditEvent } from '../../audit/event.js';
import type { RawRow } from '../../source/event-id.js';
import { ROW_EDITED, type RowReader } from '../../source/row-to-event.js';
import { COLUMN_KEYS, quoteIdentifier, REVISION_COLUMNS } from '../../source/table-schema.js';
import type { Filter } from '../filter.js';

/**
 * An edited row is one entry that counts once and has its versions as a member.
 *
 * On a server, Postern's table has the current row, and the daemon's own table has its versions. On a hub, the hub's table has the first state
 * of the row, followed by its versions in the same table, identified by their server and the row's id there. In both cases SQL excludes the
 * versions, and they are added to their entry. A version whose row is deleted is an entry of its own, as nothing else is left of it.
 * Queries for the daemon's own table, or for edits, return versions as entries of their own.
 */
const VERSIONS = 'revision_of IS NOT NULL';
/** Rows in one statement. */
const AT_ONCE = 500;
/** Of the most recently edited rows, this many are looked up in their table for each query. Of earlier ones, only the lowest id is compared. */
const MOST_SOUGHT = 2_000;

/** The edited rows of Postern that have been deleted. */
export interface Gone {
  /** Rows below this id are deleted, and those in `ids`. */
  readonly below: number;
  readonly ids: readonly number[];
}

export function hidesVersions({ source, action }: Filter): boolean {
  return source !== 'auditd' && action !== ROW_EDITED;
}

/** SQL for the rows to exclude from the daemon's own table; null if there are none. */
export function withoutVersions(db: Database, gone: Gone | null): string | null {
  if (!hasVersions(db)) return null;
  if (gone === null) return VERSIONS;
  const { below, ids } = gone;
  const except = ids.length === 0 ? '' : ` AND revision_of NOT IN (${ids.join(', ')})`;
  return `${VERSIONS} AND revision_of >= ${below}${except}`;
}

/** The same for a hub's table. @param withGone whether versions whose row is deleted are excluded too */
export function withoutHubVersions(db: Database, withGone: boolean): string | null {
  if (!hasVersions(db)) return null;
  if (withGone) return VERSIONS;
  return `${VERSIONS} AND EXISTS (SELECT 1 FROM audit_log AS row WHERE row.origin_source = 'postern'
    AND row.origin = audit_log.origin AND row.origin_id = audit_log.revision_of)`;
}

/** Not in a database that an older version has left. */
export function hasVersions(db: Database): boolean {
  try {
    return db.prepare(`SELECT EXISTS (SELECT 1 FROM audit_log WHERE ${VERSIONS})`).pluck().get() === 1;
  } catch {
    return false;
  }
}

const CURRENT = "(SELECT max(timeline) FROM timeline WHERE source = 'postern')";

/** The ids of Postern's most recently edited rows, from our own table; null if there are none. An id counts for all histories of the database. */
export function revisedRows(db: Database): readonly number[] | null {
  if (!hasVersions(db)) return null;
  const ids = db
    .prepare("SELECT id FROM revision WHERE source = 'postern' ORDER BY own_id DESC LIMIT ?")
    .pluck()
    .all(MOST_SOUGHT) as number[];
  return [...new Set(ids)];
}

/** @param from the table, as SQL that finds a row by its id */
export function goneOf(db: Database, from: string, id: string, ids: readonly number[]): Gone {
  const lowest = db.prepare(`SELECT min(${id}) FROM ${from}`).pluck().get() as number | null;
  const below = lowest ?? Number.MAX_SAFE_INTEGER;
  const there = new Set<number>();
  const sought = ids.filter((one) => one >= below);
  for (let at = 0; at < sought.length; at += AT_ONCE) {
    const some = sought.slice(at, at + AT_ONCE).join(', ');
    const found = db.prepare(`SELECT ${id} FROM ${from} WHERE ${id} IN (${some})`).pluck().all() as number[];
    for (const one of found) there.add(one);
  }
  return { below, ids: sought.filter((one) => !there.has(one)) };
}

/** Returns the versions of an event. */
export type Versions = (event: AuditEvent) => readonly AuditEvent[];

/** Versions by row id, in the order in which they were read. */
export type VersionsById = ReadonlyMap<number, readonly AuditEvent[]>;

const NAMES = [...COLUMN_KEYS, ...REVISION_COLUMNS].map((name) => `a.${quoteIdentifier(name)}`).join(', ');

/** The versions of rows in Postern's current history. */
export function versionsOf(db: Database, rows: RowReader, ids: readonly number[]): VersionsById {
  return read(
    db,
    rows,
    ids,
    (some) => `SELECT r.id, ${NAMES} FROM revision AS r JOIN audit_log AS a ON a.id = r.own_id
      WHERE r.source = 'postern' AND r.id IN (${some}) AND r.timeline = ${CURRENT} ORDER BY a.id`,
  );
}

/**
 * The versions of rows in a hub's table. If several histories of a server have a row with the id, versions belong to the last such row before
 * them, or else to the first: the rows of a server arrive on two ways, one of which may lag.
 */
export function hubVersionsOf(db: Database, rows: RowReader, ids: readonly number[]): VersionsById {
  const same = (what: string, more: string) =>
    `(SELECT ${what}(p.id) FROM audit_log AS p WHERE p.origin_source = 'postern' AND p.origin = o.origin AND p.origin_id = o.origin_id ${more})`;
  return read(
    db,
    rows,
    ids,
    (some) => `SELECT o.id, ${NAMES} FROM audit_log AS o JOIN audit_log AS a
        ON a.origin = o.origin AND a.revision_of = o.origin_id AND a.revision_of IS NOT NULL
      WHERE o.id IN (${some}) AND o.origin_source = 'postern'
        AND o.id = coalesce(${same('max', 'AND p.id < a.id')}, ${same('min', '')}) ORDER BY a.id`,
  );
}

function read(
  db: Database,
  rows: RowReader,
  ids: readonly number[],
  sql: (ids: string) => string,
): VersionsById {
  const found = new Map<number, AuditEvent[]>();
  if (ids.length === 0 || !hasVersions(db)) return found;
  const place = { timeline: 1, ingested: 0, defaults: [], bytesOf: () => null };
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE).join(', ');
    for (const [original, ...row] of db.prepare(sql(some)).raw().safeIntegers().all() as RawRow[]) {
      const [of, action] = row.slice(COLUMN_KEYS.length);
      const revision = { of: Number(of), action: typeof action === 'string' ? action : null };
      const event = rows.event(row.slice(0, COLUMN_KEYS.length), '', place, revision);
      const id = Number(original);
      found.set(id, [...(found.get(id) ?? []), event]);
    }
  }
  return found;
}
