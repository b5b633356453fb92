import type { Database } from 'better-sqlite3';
import type { AuditEvent } from '../audit/event.js';
import { COLUMN_KEYS, quoteIdentifier, REVISION_COLUMNS } from '../source/columns.js';
import type { RawRow } from '../source/encoding.js';
import { ROW_EDITED, type RowReader } from '../source/row.js';
import type { Filter } from './filter.js';

/** Of the daemon's own table: rows that are versions of rows of Postern's. */
const VERSIONS = 'revision_of IS NOT NULL';
/** Rows that are asked for at a time. */
const AT_ONCE = 500;

/**
 * A row of Postern's table stands there as it is now; what it was in between stands in the daemon's own. So that it counts once, the
 * versions are left out, as SQL, and come with their entry instead. Who asks for the daemon's own table, or for
 * edits, gets them as the rows that they are.
 *
 * @returns null if there is nothing to leave out
 */
export function withoutVersions(db: Database, filter: Filter): string | null {
  return hidesVersions(filter) && hasVersions(db) ? VERSIONS : null;
}

export function hidesVersions({ source, action }: Filter): boolean {
  return source !== 'auditd' && action !== ROW_EDITED;
}

/** Not in a state.db that an older version has left. */
function hasVersions(db: Database): boolean {
  try {
    return db.prepare(`SELECT EXISTS (SELECT 1 FROM audit_log WHERE ${VERSIONS})`).pluck().get() === 1;
  } catch {
    return false;
  }
}

/** The versions of rows of Postern's current history by row id, those of a row in the order in which they were seen. */
export function versionsOf(
  db: Database,
  rows: RowReader,
  ids: readonly number[],
): ReadonlyMap<number, readonly AuditEvent[]> {
  const found = new Map<number, AuditEvent[]>();
  if (ids.length === 0 || !hasVersions(db)) return found;
  const names = [...COLUMN_KEYS, ...REVISION_COLUMNS].map((name) => `a.${quoteIdentifier(name)}`).join(', ');
  const place = { timeline: 1, ingested: 0, defaults: [], bytesOf: () => null };
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE);
    const raw = db
      .prepare(
        `SELECT ${names} FROM revision AS r JOIN audit_log AS a ON a.id = r.own_id
         WHERE r.source = 'postern' AND r.id IN (${some.map(() => '?').join(', ')})
           AND r.timeline = (SELECT max(timeline) FROM timeline WHERE source = 'postern') ORDER BY a.id`,
      )
      .raw()
      .safeIntegers()
      .all(some) as RawRow[];
    for (const row of raw) {
      const [of, action] = row.slice(COLUMN_KEYS.length);
      const revision = { of: Number(of), action: typeof action === 'string' ? action : null };
      const event = rows.event(row.slice(0, COLUMN_KEYS.length), '', place, revision);
      found.set(revision.of, [...(found.get(revision.of) ?? []), event]);
    }
  }
  return found;
}
