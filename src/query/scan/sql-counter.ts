import type { Database, Statement } from 'better-sqlite3';
import type { Filter } from '../filter.js';
import type { SqlParam } from '../plan/address-variants.js';
import { below, type TimedIdRange } from '../plan/id-ranges.js';
import { branchParams, branchSql, type Condition, type IndexLookup } from '../plan/index-condition.js';
import type { QueryPlan } from '../plan/plan.js';
import { decidedByText } from '../plan/sql-time.js';
import type { QueryTable } from '../plan/table-schema.js';
import { AdaptiveWindow } from './adaptive-window.js';

/** Ids of the first window, if each row has to be checked. */
const WINDOW = 12_288;
/** Ids of the smallest window, for the last few rows. */
const SMALLEST = 4_096;
/** Ids of the largest window. BOTH must be larger, and 2^53 larger than their product. */
const WIDEST = 2 ** 22;
/** Rows that an index returns in about 5 ms. */
const MOST_AT_ONCE = 100_000;
/** The amount by which a decided row raises the sum: more than the other count in the sum can be. */
const BOTH = 2 ** 24;

interface Piece {
  /** The lookup; null: all rows. */
  readonly branch: IndexLookup | null;
  /** The rows below this id within `range`. */
  readonly before: number;
  readonly range: TimedIdRange;
  /** The index of that range. */
  readonly at: number;
}

/**
 * Counts the rows of a plan within SQLite, if SQL alone decides which rows match. That takes a fifteenth of the time of reading their ids.
 * It counts in steps, and nothing is open between two steps.
 */
export class Counter {
  private readonly pieces: Piece[];
  private readonly window = new AdaptiveWindow(WINDOW, WIDEST);
  private reached: number;
  /** Statements of the connection that was used last. */
  private statements = new Map<string, Statement>();
  private db: Database | null = null;

  /** Null if SQL alone can't count the rows. */
  static of(table: QueryTable, plan: QueryPlan, filter: Filter, before: number): Counter | null {
    const { branches, undecided } = plan;
    if (undecided === 'all' || table.isView) return null;
    if (branches !== null && !areDisjoint(branches)) return null;
    return new Counter(table, plan, filter, before);
  }

  private constructor(
    private readonly table: QueryTable,
    private readonly plan: QueryPlan,
    private readonly filter: Filter,
    before: number,
  ) {
    const branches = plan.branches ?? [null];
    this.pieces = branches.flatMap((branch) => this.piece(branch, before, 0) ?? []);
    this.reached = this.pieces[0]?.before ?? before;
  }

  /** The part of a branch below an id; null if there is none. */
  private piece(branch: IndexLookup | null, id: number, from: number): Piece | null {
    const { ranges } = this.plan;
    const { at, before } = below(ranges, id, from) ?? { at: -1, before: 0 };
    const range = ranges[at];
    return range === undefined ? null : { branch, before, range, at };
  }

  get done(): boolean {
    return this.pieces.length === 0;
  }

  /** Whether rows are counted in the order of ids. Only then is the id after a number of rows known. */
  get inOrder(): boolean {
    return this.pieces.length <= 1;
  }

  /**
   * Counts until the time limit (by `performance.now()`) or until at least `most` rows are counted.
   *
   * @returns the number of rows; null if SQL can't decide a row, so that earlier results are void too
   */
  count(db: Database, most: number, until: number): number | null {
    let total = 0;
    while (!this.done && total < most) {
      const found = this.next(db, most - total);
      if (found === null) return null;
      total += found;
      if (performance.now() > until) break;
    }
    return total;
  }

  /**
   * Skips up to `rows` rows, the newest first, until the time limit. `before` is then the position.
   *
   * @returns the number of rows skipped; null if SQL can't decide the next ones
   */
  skip(db: Database, rows: number, until: number): number | null {
    let skipped = 0;
    for (let [piece] = this.pieces; piece !== undefined && skipped < rows; [piece] = this.pieces) {
      const { branch, before } = piece;
      const left = rows - skipped;
      const floor = this.floorOf(piece, left);
      const found = this.next(db, left);
      if (found === null || found > left || (found === left && this.checksTime(piece))) {
        // Back to the position before: the caller has to read these rows.
        if (this.pieces[0]?.branch === branch) this.pieces[0] = piece;
        else this.pieces.unshift(piece);
        this.reached = before;
        return skipped > 0 ? skipped : null;
      }
      skipped += found;
      if (found === left) {
        const last = this.prepared(db, this.sql(branch, 'LIMIT 1 OFFSET ?')).pluck();
        this.reached = last.get(...this.params(branch, before, floor), left - 1) as number;
        return skipped;
      }
      this.reached = floor;
      if (performance.now() > until) break;
    }
    return skipped;
  }

  /** The rows skipped or counted have this id or a higher one. */
  get before(): number {
    return this.reached;
  }

  private next(db: Database, most: number): number | null {
    const [piece] = this.pieces;
    if (piece === undefined) return 0;
    const floor = this.floorOf(piece, most);
    const begin = performance.now();
    const params = this.params(piece.branch, piece.before, floor);
    let found: number | null;
    if (this.checksTime(piece)) found = this.countInTime(db, piece.branch, params);
    else {
      const sql = `SELECT count(*) FROM (${this.allRowsSql(piece, floor) ?? this.sql(piece.branch, 'LIMIT ?', '1')})`;
      found = this.prepared(db, sql)
        .pluck()
        .get(...params, most) as number;
    }
    const rest = this.piece(piece.branch, floor, piece.at);
    if (rest === null) this.pieces.shift();
    else this.pieces[0] = rest;
    this.window.adapt(performance.now() - begin, floor > piece.range.lowest);
    return found;
  }

  private prepared(db: Database, sql: string): Statement {
    if (db !== this.db) this.statements = new Map();
    this.db = db;
    const statement = this.statements.get(sql) ?? db.prepare(sql);
    this.statements.set(sql, statement);
    return statement;
  }

  /** SQL for every row of the range, by the smallest index that has them all; null if only some rows match. */
  private allRowsSql({ branch, before, range }: Piece, floor: number): string | null {
    const { plan, table } = this;
    const isWhole = branch === null && plan.conditions.length === 0 && plan.undecided === 'nothing';
    if (!isWhole || table.byAny === null || floor > range.lowest || before <= range.highest) return null;
    return `SELECT 1 FROM ${table.byAny} WHERE ${table.columns.id} < ? AND ${table.columns.id} >= ? LIMIT ?`;
  }

  private countInTime(db: Database, branch: IndexLookup | null, params: readonly SqlParam[]): number | null {
    const created = this.table.columns.created_at;
    const { isDecided, isIn } = decidedByText('c', this.filter, this.table.isUtc);
    // Both counts are in one sum, or SQLite would compute the date twice.
    const sql = `SELECT count(*), coalesce(sum(CASE WHEN ${isDecided} THEN ${BOTH} + ${isIn} ELSE 0 END), 0)
      FROM (${this.sql(branch, '', `${created} AS c`)})`;
    const [rows, sum] = this.prepared(db, sql)
      .raw()
      .get(...params) as [number, number];
    return Math.floor(sum / BOTH) === rows ? sum % BOTH : null;
  }

  /** The lowest id of the next step. If a limit alone does not keep the step short, a window does, at most as large as the number of rows wanted. */
  private floorOf(piece: Piece, most: number): number {
    const { branch, before, range } = piece;
    const { lowest } = range;
    const checksRows = this.checksTime(piece) || this.conditionsOf(branch).length > 0;
    const window = Math.min(this.window.size, Math.max(SMALLEST, most));
    return checksRows || most > MOST_AT_ONCE ? Math.max(lowest, before - window) : lowest;
  }

  private checksTime({ range }: Piece): boolean {
    return this.plan.undecided === 'time' && range.isInTime !== true;
  }

  private conditionsOf(branch: IndexLookup | null): readonly Condition[] {
    if (branch === null) return this.plan.conditions;
    return branch.and === undefined ? [] : [branch.and];
  }

  private sql(branch: IndexLookup | null, limit: string, what = this.table.columns.id): string {
    const { byId, columns } = this.table;
    const where = `${columns.id} < ? AND ${columns.id} >= ?`;
    if (branch !== null) return branchSql(this.table, branch, `AND ${where}`, limit, what);
    const conditions = this.plan.conditions.map(({ sql }) => `AND ${sql}`).join(' ');
    return `SELECT ${what} FROM ${byId} WHERE ${where} ${conditions} ORDER BY ${columns.id} DESC ${limit}`;
  }

  private params(branch: IndexLookup | null, before: number, floor: number): SqlParam[] {
    if (branch !== null) return [...branchParams(branch), before, floor];
    return [before, floor, ...this.plan.conditions.flatMap(({ params }) => params)];
  }
}

/** Whether no row is in two branches: each is a different text of the same column. */
function areDisjoint(branches: readonly IndexLookup[]): boolean {
  if (branches.length <= 1) return true;
  const [first] = branches;
  return branches.every(
    ({ key, value }) => key === first?.key && (value === null || typeof value === 'string'),
  );
}
