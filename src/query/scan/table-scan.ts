import type { Database, Statement } from 'better-sqlite3';
import type { AuditEvent, SourceName } from '../../audit/event.js';
import { CreatedReader } from '../../source/created-at.js';
import type { RawRow } from '../../source/event-id.js';
import { keepsWriterOut, SHORT_ROWS, stepEnd } from '../../source/journal-mode.js';
import type { RowContext, RowReader } from '../../source/row-to-event.js';
import { COLUMN_KEYS, type ColumnKey } from '../../source/table-schema.js';
import { below, lowestOf } from '../plan/id-ranges.js';
import type { QueryPlan } from '../plan/plan.js';
import { type QueryTable, selectList } from '../plan/table-schema.js';
import { AdaptiveWindow } from './adaptive-window.js';
import { IndexUnion } from './index-union.js';

/** A matching row. The parts that were not requested are null. */
export interface MatchedRow {
  readonly source: SourceName;
  readonly sequence: number;
  readonly time: number | null;
  readonly event: AuditEvent | null;
}

export interface TableScanOptions {
  readonly source: SourceName;
  readonly table: QueryTable;
  readonly plan: QueryPlan;
  readonly rows: RowReader;
  readonly matches: (event: AuditEvent) => boolean;
  readonly inTime: (time: number | null) => boolean;
  /** SQL (`AND …`) that excludes rows outside the range of time; may be empty. */
  readonly sieve: string;
  /** Columns to read in addition to those of the filter; null for all. */
  readonly columns: ReadonlySet<ColumnKey> | null;
  /** Rows below this id. */
  readonly before: number;
  /** Milliseconds that a step may take, approximately. */
  readonly stepMs: number;
}

/** Characters of details read in one step, approximately, so that hundreds of megabyte-sized rows are not read ahead. */
const HEAVY = 4 * 2 ** 20;
const DETAILS = COLUMN_KEYS.indexOf('details');

/** Rows fetched at a time. */
const SLICE = 256;
/** Rows fetched at first, before their size is known. */
const FIRST = 64;
/** The first window of ids that is searched for matching rows. */
const WINDOW = 8_192;

/** Scans one table from the newest row in steps. Nothing is open between two steps. */
export class TableScan {
  readonly source: SourceName;
  queue: MatchedRow[] = [];
  done = false;
  private readonly ids: IndexUnion | null;
  private readonly select: string;
  /** Whether only the id of a row is read. */
  private readonly bare: boolean;
  /** Whether only the id and the time are read. */
  private readonly timeOnly: boolean;
  private readonly created: CreatedReader;
  private readonly begin: number;
  private before: number;
  /** The index of the range of ids that has `before`. */
  private range = 0;
  private readonly window = new AdaptiveWindow(WINDOW);
  private slice = FIRST;
  /** Characters of details read in this step. */
  private weight = 0;
  /** Whether integers are read as bigint, which is so after the first one that a double can't hold. */
  private exact = false;
  private readonly place: RowContext;
  private prepared: { db: Database; sql: string; statement: Statement } | null = null;

  constructor(private readonly options: TableScanOptions) {
    const { source, table, plan, columns, before } = options;
    this.source = source;
    this.created = new CreatedReader(table.timeZone);
    const { branches, ranges } = plan;
    this.begin = below(ranges, before)?.before ?? 0;
    this.before = this.begin;
    this.ids = branches === null ? null : new IndexUnion(table, branches, lowestOf(ranges), this.before);
    const isTime = columns !== null && [...columns].every((key) => key === 'created_at');
    this.bare = plan.undecided === 'nothing' && columns?.size === 0;
    this.timeOnly = !this.bare && isTime && plan.undecided !== 'all';
    this.select = this.timeOnly
      ? `${table.columns.id}, ${table.columns.created_at}`
      : selectList(table, columns === null ? null : new Set([...columns, ...plan.columns]));
    this.place = { timeline: 1, ingested: 0, defaults: table.defaults, bytesOf: () => null };
  }

  /** The position of the scan for progress reports, from its start (1) to the oldest row (0). */
  get position(): number {
    const lowest = lowestOf(this.options.plan.ranges);
    return this.begin <= lowest ? 0 : Math.max(0, (this.before - lowest) / (this.begin - lowest));
  }

  /** All matching rows from this id on have been read. */
  get reached(): number {
    return this.before;
  }

  /** Prepares SQL, or reuses the last statement if connection and SQL are the same. */
  private statement(db: Database, sql: string): Statement {
    if (this.prepared?.db !== db || this.prepared.sql !== sql)
      this.prepared = { db, sql, statement: db.prepare(sql) };
    return this.prepared.statement;
  }

  /** Makes one step: reads until the queue has this many rows, the table ends, or the time of the step is over. */
  step(db: Database, wanted: number): void {
    const end = stepEnd(db, this.options.stepMs);
    const short = keepsWriterOut(db);
    if (short) this.slice = Math.min(this.slice, SHORT_ROWS);
    const rows = this.ids === null ? null : this.rowById(db);
    this.weight = 0;
    do {
      const [place, weight] = [this.queue.length, this.weight];
      if (this.ids !== null && rows !== null) this.readByIndex(db, this.ids, rows, wanted, end);
      else this.readById(db, wanted);
      if (!short) this.resizeSlice(this.queue.length - place, this.weight - weight);
    } while (!this.done && this.queue.length < wanted && this.weight < HEAVY && performance.now() < end);
  }

  /** Sets the number of rows fetched at a time, so that their details have about HEAVY characters. */
  private resizeSlice(rows: number, weight: number): void {
    const each = rows === 0 ? 0 : weight / rows;
    const fits = Math.max(1, Math.floor(HEAVY / Math.max(1, each)));
    this.slice = Math.min(SLICE, fits, this.slice * 4);
  }

  private rowById(db: Database): Statement {
    const { table } = this.options;
    const sql = `SELECT ${this.select} FROM ${table.from} WHERE ${table.columns.id} = ?`;
    return this.statement(db, sql).raw().safeIntegers(this.exact);
  }

  /** Whether a row has to be read again as bigint. If so, all later rows are read so, as such large ids are in every row. */
  private isInexact(row: RawRow | undefined): boolean {
    if (this.exact || this.timeOnly || row === undefined || !hasBeyondDouble(row)) return false;
    this.exact = true;
    return true;
  }

  private readByIndex(db: Database, ids: IndexUnion, row: Statement, wanted: number, end: number): void {
    const most = this.bare ? wanted - this.queue.length : Math.min(this.slice, wanted - this.queue.length);
    const found = ids.take(db, most, end);
    this.done = ids.ended;
    const { ranges } = this.options.plan;
    this.before = this.done ? lowestOf(ranges) : (found.at(-1) ?? this.before);
    for (const id of found) {
      while (id < (ranges[this.range]?.lowest ?? 0)) this.range++;
      if (id > (ranges[this.range]?.highest ?? 0)) continue; // between two ranges
      if (this.bare) {
        this.push(id);
        continue;
      }
      let one = row.get(id) as RawRow | undefined;
      if (this.isInexact(one)) one = row.safeIntegers().get(id) as RawRow | undefined;
      this.addIfMatching(one);
    }
  }

  private readById(db: Database, wanted: number): void {
    const { table, plan, sieve } = this.options;
    const next = below(plan.ranges, this.before, this.range);
    if (next === null) {
      this.done = true;
      return;
    }
    this.range = next.at;
    this.before = next.before;
    const lowest = plan.ranges[next.at]?.lowest ?? 1;
    const { id } = table.columns;
    const conditions = [...plan.conditions.map(({ sql }) => `AND ${sql}`), sieve].join(' ').trim();
    // Without a condition, the limit bounds the rows read. With one, only the range of ids does.
    const floor = conditions === '' ? lowest : Math.max(lowest, this.before - this.window.size);
    const left = wanted - this.queue.length;
    const limit = this.bare ? Math.max(SLICE, left) : Math.min(this.slice, Math.max(FIRST, left));
    const begin = performance.now();
    const statement = this.statement(
      db,
      `SELECT ${this.bare ? id : this.select} FROM ${table.byId} WHERE ${id} < ? AND ${id} >= ? ${table.integers} ${conditions} ORDER BY ${id} DESC LIMIT ?`,
    );
    const params = [this.before, floor, ...plan.conditions.flatMap(({ params: own }) => own), limit];
    if (this.bare) {
      const ids = statement.pluck().all(params) as number[];
      for (const found of ids) this.push(found);
      this.advance(ids.length, limit, ids.at(-1), floor, begin);
    } else {
      let rows = statement.raw().safeIntegers(this.exact).all(params) as RawRow[];
      if (rows.some((row) => this.isInexact(row))) rows = statement.safeIntegers().all(params) as RawRow[];
      for (const row of rows) this.addIfMatching(row);
      this.advance(rows.length, limit, Number(rows.at(-1)?.[0]), floor, begin);
    }
  }

  private advance(
    found: number,
    limit: number,
    last: number | undefined,
    floor: number,
    begin: number,
  ): void {
    const full = found === limit && last !== undefined;
    this.before = full ? last : floor;
    if (this.before <= lowestOf(this.options.plan.ranges)) this.done = true;
    const isWhole = !full && floor > (this.options.plan.ranges[this.range]?.lowest ?? 1);
    this.window.adapt(performance.now() - begin, isWhole);
  }

  private push(id: number): void {
    this.queue.push({ source: this.source, sequence: id, time: null, event: null });
  }

  private addIfMatching(row: RawRow | undefined): void {
    if (row === undefined) return; // deleted since its id was read
    if (this.timeOnly) {
      const [id, raw = null] = row;
      const time = this.created.read(Buffer.isBuffer(raw) ? raw.toString() : raw);
      if (this.options.plan.undecided === 'nothing' || this.options.inTime(time))
        this.queue.push({ source: this.source, sequence: Number(id), time, event: null });
      return;
    }
    const details = row[DETAILS];
    if (typeof details === 'string' || Buffer.isBuffer(details)) this.weight += details.length;
    const event = this.options.rows.event(row, '', this.place);
    if (this.options.plan.undecided !== 'nothing' && !this.options.matches(event)) return;
    this.queue.push({ source: this.source, sequence: event.sequence, time: event.time, event });
  }
}

/** Whether a row has an integer that a double can't hold. Until then, integers are read as numbers instead of bigint, which makes an export a tenth faster. */
function hasBeyondDouble(row: RawRow): boolean {
  for (let at = 1; at < row.length; at++) {
    const value = row[at];
    if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) return true;
  }
  return false;
}
