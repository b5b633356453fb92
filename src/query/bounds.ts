import type { Database, Statement } from 'better-sqlite3';
import { CreatedReader } from '../source/created.js';
import type { SqlValue } from '../source/encoding.js';
import type { Filter } from './filter.js';
import type { QueryTable } from './table.js';

/** Ids between which all that is meant stands, both included. */
export interface Bounds {
  readonly lowest: number;
  readonly highest: number;
}

/** Clocks step, and transactions end in another order than they began: rows this near to a bound are looked at, too. */
const MARGIN_MS = 3_600_000;
const MARGIN_ROWS = 1_000;
/** Rows around a place of which the one in the middle tells its time: one that is far out misleads nobody. */
const AROUND = 5;
const FURTHER = 200;
/** Places that are looked at to see whether times follow ids at all. */
const PLACES = 48;
/** No search pays for fewer rows than these. */
const FEW = 4 * MARGIN_ROWS;

/**
 * Translates a range of time to a range of ids by halving: ids are given in the order of commits, so times follow them. Where
 * they do not (rows that were put in later, clocks that were wrong for long), all ids.
 */
export function timeBounds(db: Database, table: QueryTable, filter: Filter, snapshot: number): Bounds {
  const all = { lowest: 1, highest: snapshot };
  if ((filter.from === null && filter.to === null) || snapshot < FEW) return all;
  const probe = new Probe(db, table, snapshot);
  const least = probe.lowestId();
  if (least === null || !isAscending(probe, least, snapshot)) return all;
  const lowest =
    filter.from === null ? 1 : probe.back(probe.search(least, snapshot, filter.from - MARGIN_MS));
  const highest =
    filter.to === null ? snapshot : probe.forth(probe.search(least, snapshot, filter.to + MARGIN_MS));
  return { lowest, highest };
}

function isAscending(probe: Probe, lowest: number, highest: number): boolean {
  let latest = Number.NEGATIVE_INFINITY;
  for (let place = 0; place < PLACES; place++) {
    const time = probe.timeAt(lowest + Math.floor(((highest - lowest) / PLACES) * place));
    if (time === null) continue;
    if (time < latest - MARGIN_MS) return false;
    latest = Math.max(latest, time);
  }
  return true;
}

class Probe {
  private readonly created = new CreatedReader();
  private some: Statement | null = null;

  constructor(
    private readonly db: Database,
    private readonly table: QueryTable,
    private readonly snapshot: number,
  ) {}

  lowestId(): number | null {
    const { columns, byId } = this.table;
    return this.id(
      `SELECT ${columns.id} FROM ${byId} WHERE ${columns.id} > 0 ORDER BY ${columns.id} LIMIT 1`,
    );
  }

  /** The first id from whose time on times are `time` or later; `highest` + 1 if there is none. */
  search(lowest: number, highest: number, time: number): number {
    let from = lowest;
    let below = highest + 1;
    while (from < below) {
      const middle = from + Math.floor((below - from) / 2);
      const found = this.timeAt(middle);
      // Nothing from here on tells its time: what is meant may still stand before.
      if (found === null || found >= time) below = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** The time of the rows from an id on; null if none can be read. */
  timeAt(id: number): number | null {
    return this.median(id, AROUND) ?? this.median(id, FURTHER);
  }

  back(id: number): number {
    const { columns, byId } = this.table;
    const sql = `SELECT ${columns.id} FROM ${byId} WHERE ${columns.id} < ${id} ORDER BY ${columns.id} DESC LIMIT 1 OFFSET ${MARGIN_ROWS - 1}`;
    return this.id(sql) ?? 1;
  }

  forth(id: number): number {
    const { columns, byId } = this.table;
    const sql = `SELECT ${columns.id} FROM ${byId} WHERE ${columns.id} >= ${id} ORDER BY ${columns.id} LIMIT 1 OFFSET ${MARGIN_ROWS - 1}`;
    return Math.min(this.id(sql) ?? this.snapshot, this.snapshot);
  }

  private median(id: number, rows: number): number | null {
    const { columns, byId, integers } = this.table;
    this.some ??= this.db
      .prepare(
        `SELECT ${columns.created_at} FROM ${byId} WHERE ${columns.id} >= ? ${integers} ORDER BY ${columns.id} LIMIT ?`,
      )
      .pluck()
      .safeIntegers();
    const times = (this.some.all(id, rows) as SqlValue[])
      .map((value) => this.created.read(Buffer.isBuffer(value) ? value.toString() : value))
      .filter((time) => time !== null)
      .sort((a, b) => a - b);
    return times[Math.floor(times.length / 2)] ?? null;
  }

  private id(sql: string): number | null {
    const found = this.db.prepare(sql).pluck().get();
    return typeof found === 'number' ? found : null;
  }
}
