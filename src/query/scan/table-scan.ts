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

/** A row that is meant. What was not asked for is not there. */
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
  /** `AND …` for SQL, of rows that can't be meant by their time; may be empty. */
  readonly sieve: string;
  /** Columns to read besides those that decide; null for all of them. */
  readonly columns: ReadonlySet<ColumnKey> | null;
  /** Ids below this one. */
  readonly before: number;
  /** Milliseconds that a step may take, about. */
  readonly stepMs: number;
}

/** Details read in one step, about: events of a megabyte are not read ahead by the hundred. */
const HEAVY = 4 * 2 ** 20;
const DETAILS = COLUMN_KEYS.indexOf('details');

/** Rows fetched at a time, and the ids among which they are looked for at first. */
const SLICE = 256;
/** The first ones: nothing is known of their size yet. */
const FIRST = 64;
const WINDOW = 8_192;

/** Goes over one table from the newest row on, in steps; between two of them nothing is open. */
export class TableScan {
  readonly source: SourceName;
  queue: MatchedRow[] = [];
  done = false;
  private readonly ids: IndexUnion | null;
  private readonly select: string;
  /** What is read of a row is its id alone, or that and its time. */
  private readonly bare: boolean;
  private readonly timeOnly: boolean;
  private readonly created: CreatedReader;
  private readonly begin: number;
  private before: number;
  /** The range of ids that `before` stands in. */
  private range = 0;
  private readonly window = new AdaptiveWindow(WINDOW);
  private slice = FIRST;
  /** Of the details read in this step. */
  private weight = 0;
  /** Whether integers are read as bigint: once there may have been one that no double holds. */
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

  /** Where the walk is, from the oldest (0) to where it began (1); for people. */
  get position(): number {
    const lowest = lowestOf(this.options.plan.ranges);
    return this.begin <= lowest ? 0 : Math.max(0, (this.before - lowest) / (this.begin - lowest));
  }

  /** Ids from here on were read, as far as they were meant. */
  get reached(): number {
    return this.before;
  }

  /** The same statement for all steps over one connection; SQL that is another is another statement. */
  private statement(db: Database, sql: string): Statement {
    if (this.prepared?.db !== db || this.prepared.sql !== sql)
      this.prepared = { db, sql, statement: db.prepare(sql) };
    return this.prepared.statement;
  }

  /** One step: reads on until the queue has so many rows, the end, or the end of the step's time. */
  step(db: Database, wanted: number): void {
    const end = stepEnd(db, this.options.stepMs);
    const short = keepsWriterOut(db);
    if (short) this.slice = Math.min(this.slice, SHORT_ROWS);
    const rows = this.ids === null ? null : this.rowById(db);
    this.weight = 0;
    do {
      const [place, weight] = [this.queue.length, this.weight];
      if (this.ids !== null && rows !== null) this.byBranches(db, this.ids, rows, wanted, end);
      else this.byId(db, wanted);
      if (!short) this.sizeUp(this.queue.length - place, this.weight - weight);
    } while (!this.done && this.queue.length < wanted && this.weight < HEAVY && performance.now() < end);
  }

  /** As many rows at a time as have HEAVY together. */
  private sizeUp(rows: number, weight: number): void {
    const each = rows === 0 ? 0 : weight / rows;
    const fits = Math.max(1, Math.floor(HEAVY / Math.max(1, each)));
    this.slice = Math.min(SLICE, fits, this.slice * 4);
  }

  private rowById(db: Database): Statement {
    const { table } = this.options;
    const sql = `SELECT ${this.select} FROM ${table.from} WHERE ${table.columns.id} = ?`;
    return this.statement(db, sql).raw().safeIntegers(this.exact);
  }

  /** Whether a row has to be read again, as all are from then on: where ids are as large, they are in every row. */
  private isInexact(row: RawRow | undefined): boolean {
    if (this.exact || this.timeOnly || row === undefined || !hasBeyondDouble(row)) return false;
    this.exact = true;
    return true;
  }

  private byBranches(db: Database, ids: IndexUnion, row: Statement, wanted: number, end: number): void {
    const most = this.bare ? wanted - this.queue.length : Math.min(this.slice, wanted - this.queue.length);
    const found = ids.take(db, most, end);
    this.done = ids.ended;
    const { ranges } = this.options.plan;
    this.before = this.done ? lowestOf(ranges) : (found.at(-1) ?? this.before);
    for (const id of found) {
      while (id < (ranges[this.range]?.lowest ?? 0)) this.range++;
      if (id > (ranges[this.range]?.highest ?? 0)) continue; // between two of them
      if (this.bare) {
        this.push(id);
        continue;
      }
      let one = row.get(id) as RawRow | undefined;
      if (this.isInexact(one)) one = row.safeIntegers().get(id) as RawRow | undefined;
      this.look(one);
    }
  }

  private byId(db: Database, wanted: number): void {
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
    // Without a condition the limit bounds what is read; with one, only the range of ids does.
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
      for (const row of rows) this.look(row);
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
    this.window.passed(performance.now() - begin, isWhole);
  }

  private push(id: number): void {
    this.queue.push({ source: this.source, sequence: id, time: null, event: null });
  }

  private look(row: RawRow | undefined): void {
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

/** As long as there is none, integers are read as numbers and not as bigint, which takes a tenth off an export of everything. Their text is the same. */
function hasBeyondDouble(row: RawRow): boolean {
  for (let at = 1; at < row.length; at++) {
    const value = row[at];
    if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) return true;
  }
  return false;
}
