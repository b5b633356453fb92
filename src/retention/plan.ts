import { setImmediate as otherWork } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import type { RetentionConfig } from '../config/schema.js';
import { IdSet } from '../shipping/id-set.js';
import type { SqlValue } from '../source/event-id.js';
import { keepsWriterOut } from '../source/journal-mode.js';
import { readable } from '../source/oversized-values.js';
import {
  type AuditTable,
  type ColumnKey,
  quoteIdentifier,
  TableCache,
  type TableConfig,
} from '../source/table-schema.js';
import { LARGEST_ROW } from './archive/row-size-limit.js';
import { rowSizeSql } from './archive/table-rows.js';
import { monthOf } from './archive/write.js';
import type { Read } from './database-reader.js';
import { checkDeletable } from './deletable.js';
import { sourceUnusable } from './error-parts.js';
import { type LegalHolds, type LegalRow, legalRowOf } from './legal-holds.js';
import { type Eligibility, eligibilityOf, excess, type Moment, mayGoEarly, momentOf } from './policy.js';
import type { RowEligibility } from './row-eligibility.js';
import type { Hold } from './sink-holds.js';

/** Rows scanned in one step, after which the database is closed: about 10 ms. */
const STEP_ROWS = 4_000;
/** The same where reading blocks Postern's commits. */
const SHORT_STEP_ROWS = 400;

export interface PlanOptions {
  readonly read: Read;
  readonly table: TableConfig;
  readonly eligibility: RowEligibility;
  readonly retention: Pick<RetentionConfig, 'keep' | 'max_rows' | 'max_size'>;
  readonly holds: readonly Hold[];
  readonly legal: LegalHolds;
  /** Rows with an id below this may be deleted (`limitOf`). */
  readonly limit: number;
  /** Archived rows that the purge just refused to delete: they stay. */
  readonly refused?: ReadonlySet<number>;
  readonly clock: number;
  /** Ages are counted from no later than this, because rows written by the daemon do not confirm its clock. Null: no row has an age. */
  readonly latest?: number | null;
  readonly signal: AbortSignal;
  /** The largest row that can be archived, in octets. */
  readonly largest?: number;
  /** Progress of the scan, 0 to 1. */
  readonly onProgress: (part: number) => void;
}

/** Rows of a category and a month that are to be deleted. */
interface Removable {
  readonly category: string;
  /** `2026-11`, UTC. */
  readonly month: string;
  readonly rows: number;
  /** Those deleted before their age because the table is too large. */
  readonly early: number;
}

/** Old rows that stay for a sink. */
export interface Held {
  readonly sink: string;
  /** When it stalled, ms since the epoch; null while it makes progress. */
  readonly since: number | null;
  readonly rows: number;
}

export interface RunPlan {
  readonly moment: Moment;
  /** Rows in the table. */
  readonly rows: number;
  /** Ids of these rows. */
  readonly present: IdSet;
  /** Ids by month, ascending; the oldest month first. */
  readonly months: ReadonlyMap<string, readonly number[]>;
  readonly going: readonly Removable[];
  readonly staying: Readonly<Record<Exclude<Eligibility, 'old'> | 'held' | 'large' | 'legal_hold', number>>;
  readonly held: readonly Held[];
  /** Rows deleted although a required sink has not received them, because it has been stalled for longer than `max_hold`. */
  readonly overridden: readonly Held[];
}

interface Row {
  readonly id: number;
  readonly fate: Eligibility;
  readonly category: string;
  readonly time: number | null;
  readonly bytes: number;
  /** Too large to be archived. */
  readonly large: boolean;
  /** Under a legal hold. */
  readonly isHeld: boolean;
}

/** Scans every row and decides which may be deleted. Changes nothing. @throws AuditdError `SOURCE_UNUSABLE`, the signal's reason */
export async function planRun(options: PlanOptions): Promise<RunPlan> {
  const { retention } = options;
  const scan = new Scan(options);
  let left = { rows: 0, bytes: 0 };
  if (retention.max_rows !== null || retention.max_size !== null) {
    const all = { rows: 0, bytes: 0 };
    const old = { rows: 0, bytes: 0 };
    await scan.each((row) => {
      const goes = row.fate === 'old' && !row.large && row.id < options.limit && !row.isHeld;
      for (const sum of goes ? [all, old] : [all]) {
        sum.rows++;
        sum.bytes += row.bytes;
      }
    });
    left = excess(retention, all, old);
  }
  const count = new Count(options);
  await scan.each((row) => {
    count.present.add(row.id);
    const early =
      mayGoEarly(row.fate, row.time, scan.moment) &&
      row.id !== scan.newestId &&
      (left.rows > 0 || left.bytes > 0);
    if (row.id === scan.newestId || (row.fate !== 'old' && !early)) return count.stays(row.fate);
    if (row.isHeld) return count.isOnLegalHold();
    if (row.large) return count.stays('large');
    if (row.id >= options.limit) return count.isHeld(row.id);
    if (options.refused?.has(row.id) === true) return count.stays('young');
    if (early) left = { rows: left.rows - 1, bytes: left.bytes - row.bytes };
    return count.goes(row, early);
  });
  return count.plan(scan.moment);
}

/** Scans the table in steps; nothing is open between them. */
class Scan {
  moment: Moment = momentOf(0, null);
  newestId = 0;
  private readonly tables: TableCache;

  constructor(private readonly options: PlanOptions) {
    this.tables = new TableCache(options.table);
  }

  async each(onRow: (row: Row) => void): Promise<void> {
    const { read, signal, eligibility, clock, latest, onProgress } = this.options;
    const newest = read((db) => eligibility.newestRow(db, this.table(db)));
    if (this.newestId === 0) {
      this.newestId = newest.id;
      this.moment = momentOf(clock, newest.time, latest);
    }
    for (let after = 0; after < this.newestId; ) {
      signal.throwIfAborted();
      const rows = read((db) => this.step(db, after));
      for (const row of rows) onRow(row);
      after = rows.at(-1)?.id ?? this.newestId;
      onProgress(after / this.newestId);
      await otherWork();
    }
  }

  private step(db: Database, after: number): Row[] {
    const { table, eligibility, retention, legal } = this.options;
    const { absent, name } = this.table(db);
    const names = db.prepare('SELECT name FROM pragma_table_info(?)').pluck().all(name) as string[];
    const column = (key: ColumnKey) =>
      absent.includes(key) ? 'NULL' : quoteIdentifier(table.columns[key] ?? key);
    const id = column('id');
    const read = (key: ColumnKey) => (absent.includes(key) ? 'NULL' : readable(column(key)));
    const size = retention.max_size === null ? '0' : rowSizeSql(names);
    // Whole numbers as text: some are larger than a number can be.
    const text = (key: ColumnKey) =>
      `CASE typeof(${column(key)}) WHEN 'integer' THEN CAST(${column(key)} AS TEXT) ELSE ${read(key)} END`;
    const held = legal.hasAny ? `, ${HELD_COLUMNS.map(text).join(', ')}` : '';
    const rows = db
      .prepare(
        `SELECT ${id}, ${read('created_at')}, ${read('action')}, ${read('resource_type')}, ${size}${held}
         FROM ${quoteIdentifier(name)} NOT INDEXED WHERE ${id} > ? AND ${id} <= ? ORDER BY ${id} LIMIT ?`,
      )
      .raw()
      .all(after, this.newestId, keepsWriterOut(db) ? SHORT_STEP_ROWS : STEP_ROWS) as Array<
      [number, SqlValue, SqlValue, SqlValue, number, ...SqlValue[]]
    >;
    const found = rows.map(([rowId, created, action, resourceType, bytes, ...values]) => {
      const aged = eligibility.readColumns(created, action, resourceType);
      const isHeld = legal.hasAny && legal.covers(heldRowOf(values, resourceType, aged.time));
      return {
        id: rowId,
        ...aged,
        fate: eligibilityOf(aged, retention.keep, this.moment),
        bytes,
        isHeld,
      };
    });
    const hasCap = retention.max_rows !== null || retention.max_size !== null;
    const candidates = found.filter(({ fate }) => hasCap || fate === 'old').map((row) => row.id);
    const large = this.tooLarge(db, candidates, { id, name, size: rowSizeSql(names) });
    return found.map((row) => ({ ...row, large: large.has(row.id) }));
  }

  private tooLarge(
    db: Database,
    ids: readonly number[],
    { id, name, size }: { readonly id: string; readonly name: string; readonly size: string },
  ): ReadonlySet<number> {
    if (ids.length === 0) return new Set();
    const { largest = LARGEST_ROW } = this.options;
    const sql = `SELECT ${id} FROM ${quoteIdentifier(name)} WHERE ${id} IN (SELECT value FROM json_each(?)) AND ${size} > ?`;
    const found = db.prepare(sql).pluck().all(JSON.stringify(ids), largest);
    return new Set(found as number[]);
  }

  private table(db: Database): AuditTable {
    const table = this.tables.get(db);
    if ('state' in table) throw sourceUnusable(table);
    checkDeletable(db, table);
    return table;
  }
}

/** Columns read only for legal holds. */
const HELD_COLUMNS = ['user_id', 'user_name', 'user_email', 'resource_id'] as const;

function heldRowOf(values: readonly SqlValue[], type: SqlValue, time: number | null): LegalRow {
  const [id = null, name = null, email = null, resource = null] = values;
  return legalRowOf([null, null, id, name, email, null, type, resource], time);
}

class Count {
  readonly present = new IdSet();
  private rows = 0;
  private readonly months = new Map<string, number[]>();
  private readonly going = new Map<
    string,
    { category: string; month: string; rows: number; early: number }
  >();
  private readonly staying = {
    young: 0,
    forever: 0,
    undated: 0,
    future: 0,
    held: 0,
    large: 0,
    legal_hold: 0,
  };
  private readonly held = new Map<string, number>();
  private readonly overridden = new Map<string, number>();

  constructor(private readonly options: Pick<PlanOptions, 'holds'>) {}

  stays(fate: Eligibility | 'large'): void {
    this.rows++;
    this.staying[fate === 'old' ? 'young' : fate]++;
  }

  isOnLegalHold(): void {
    this.rows++;
    this.staying.legal_hold++;
  }

  isHeld(id: number): void {
    this.rows++;
    this.staying.held++;
    for (const hold of this.options.holds) if (!hold.overridden && hold.from <= id) add(this.held, hold.sink);
  }

  goes({ id, time, category }: Row, early: boolean): void {
    this.rows++;
    const month = monthOf(time);
    const ids = this.months.get(month);
    if (ids === undefined) this.months.set(month, [id]);
    else ids.push(id);
    const key = `${month} ${category}`;
    const going = this.going.get(key) ?? { category, month, rows: 0, early: 0 };
    this.going.set(key, going);
    going.rows++;
    if (early) going.early++;
    for (const hold of this.options.holds)
      if (hold.overridden && hold.from <= id) add(this.overridden, hold.sink);
  }

  plan(moment: Moment): RunPlan {
    const sinceOf = (sink: string) => this.options.holds.find((hold) => hold.sink === sink)?.since ?? null;
    const list = (counts: ReadonlyMap<string, number>): Held[] =>
      [...counts].map(([sink, rows]) => ({ sink, since: sinceOf(sink), rows }));
    return {
      moment,
      rows: this.rows,
      present: this.present,
      months: new Map([...this.months].sort(([a], [b]) => (a < b ? -1 : 1))),
      going: [...this.going.values()].sort((a, b) =>
        a.month === b.month ? (a.category < b.category ? -1 : 1) : a.month < b.month ? -1 : 1,
      ),
      staying: this.staying,
      held: list(this.held),
      overridden: list(this.overridden),
    };
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
