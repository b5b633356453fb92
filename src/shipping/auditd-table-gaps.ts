import type Database from 'better-sqlite3';
import type { IdRange } from './id-ranges.js';
import { readNote } from './state-queries.js';

/** What is known of missing ids of the daemon's own table. */
interface Known {
  /** Retention has archived and deleted them, or they were missing at the first check. */
  readonly deleted: readonly IdRange[];
  /** An event has reported them as missing. */
  readonly told: readonly IdRange[];
}

const NOTE = 'own_ids';

/**
 * Ids of our own events that were deleted, though not by retention. SQLite assigns ids one after the other and none twice, and a failed
 * transaction returns its own: so a gap is a row that somebody removed. Whoever can write state.db can write this note, too; the events that were
 * shipped before still show it.
 *
 * @returns null where nothing is known yet
 */
export function missingOwn(db: Database.Database): readonly IdRange[] | null {
  const known = read(db);
  return known === null ? null : without(holes(db), known.deleted);
}

/** The gaps that no event has reported yet. What is missing at the first call is not reported. */
export function unreportedGaps(db: Database.Database): readonly IdRange[] {
  const known = read(db);
  if (known !== null) return without(holes(db), merged([...known.deleted, ...known.told]));
  write(db, { deleted: holes(db), told: [] });
  return [];
}

/** To be called in the transaction that records the event. */
export function markReported(db: Database.Database, ranges: readonly IdRange[]): void {
  const known = read(db) ?? { deleted: [], told: [] };
  write(db, { ...known, told: merged([...known.told, ...ranges]) });
}

/** To be called in the transaction that deletes them. */
export function noteDeleted(db: Database.Database, ids: readonly number[]): void {
  if (ids.length === 0) return;
  const known = read(db) ?? { deleted: holes(db), told: [] };
  write(db, { ...known, deleted: merged([...known.deleted, ...ids.map((id): IdRange => [id, id])]) });
}

function holes(db: Database.Database): IdRange[] {
  const between = db
    .prepare(
      `SELECT before + 1, id - 1 FROM (SELECT id, lag(id, 1, 0) OVER (ORDER BY id) AS before FROM audit_log)
       WHERE id > before + 1`,
    )
    .raw()
    .all() as IdRange[];
  const number = (sql: string) => Number(db.prepare(sql).pluck().get() ?? 0);
  const last = number('SELECT max(id) FROM audit_log');
  // Those at the end: what was given out, and what was read, whichever is more.
  const given = number("SELECT seq FROM sqlite_sequence WHERE name = 'audit_log'");
  const seen = number("SELECT mark_id FROM timeline WHERE source = 'auditd' ORDER BY timeline DESC LIMIT 1");
  const highest = Math.max(given, seen);
  return highest > last ? [...between, [last + 1, highest]] : between;
}

function merged(ranges: readonly IdRange[]): IdRange[] {
  const result: Array<[number, number]> = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const open = result.at(-1);
    if (open !== undefined && first <= open[1] + 1) open[1] = Math.max(open[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** @param known ascending, apart from each other */
function without(ranges: readonly IdRange[], known: readonly IdRange[]): IdRange[] {
  return ranges.flatMap(([first, last]) => {
    const left: IdRange[] = [];
    let from = first;
    for (const [begin, end] of known) {
      if (end < from || begin > last) continue;
      if (begin > from) left.push([from, begin - 1]);
      from = end + 1;
    }
    return from <= last ? [...left, [from, last] as const] : left;
  });
}

function read(db: Database.Database): Known | null {
  try {
    const value = JSON.parse(readNote(db, NOTE) ?? 'null') as Known | null;
    return Array.isArray(value?.deleted) && Array.isArray(value.told) ? value : null;
  } catch {
    return null;
  }
}

function write(db: Database.Database, known: Known): void {
  db.prepare(
    'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  ).run(NOTE, JSON.stringify(known));
}
