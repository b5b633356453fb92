import type { SourceName } from '../../audit/event.js';
import { stepEnd } from '../../source/journal-mode.js';
import type { ColumnKey } from '../../source/table-schema.js';
import type { RowCursor } from '../archives/table-with-archives.js';
import type { PagePosition, PagePositions } from '../cursor.js';
import type { Filter } from '../filter.js';
import { COUNTED, MOST_PAGE, type PageResult, tooLarge } from '../page.js';
import { Merge } from './merge-sources.js';
import {
  type PreparedScan,
  readsArchives,
  SCAN_STEP_MS,
  type ScanPlanner,
  startOf,
  timeLimitError,
} from './scan-planner.js';
import { Counter } from './sql-counter.js';
import type { MatchedRow } from './table-scan.js';

export type Total = Pick<PageResult, 'total' | 'total_exact'>;
export const MANY: Total = { total: COUNTED, total_exact: false };

/** Rows of one scan that are counted in one step if all are counted. */
const COUNT_STEP = 100_000;
const NO_COLUMNS: ReadonlySet<ColumnKey> = new Set();
const TIME: ReadonlySet<ColumnKey> = new Set(['created_at']);

export interface ScanRunOptions {
  readonly planner: ScanPlanner;
  /** One scan per table that the filter means. */
  readonly scans: readonly PreparedScan[];
  readonly filter: Filter;
  /** The time limit, by `performance.now()`. */
  readonly deadline: number;
  /** Whether a count that is not finished in time is an error; otherwise it returns what was counted until then. */
  readonly isStrict?: boolean;
}

/** The result of a count so far. `ended`: no row is left to count. */
interface Counted {
  readonly total: number;
  readonly ended: boolean;
}

/** Reads the prepared scans of one query, all within one time limit: skips rows, takes rows, counts rows. */
export class ScanRun {
  private readonly planner: ScanPlanner;
  private readonly scans: readonly PreparedScan[];
  private readonly filter: Filter;
  private readonly deadline: number;
  private readonly isStrict: boolean;

  constructor({ planner, scans, filter, deadline, isStrict = false }: ScanRunOptions) {
    this.planner = planner;
    this.scans = scans;
    this.filter = filter;
    this.deadline = deadline;
    this.isStrict = isStrict;
  }

  /** Skips this many rows. @returns the position after them; null if there are fewer */
  skip(start: PagePositions, rows: number): PagePositions | null {
    const nonEmpty = this.scans.filter((scan) => readsArchives(scan) || scan.plan.ranges.length > 0);
    const [only] = nonEmpty;
    const isOne = nonEmpty.length === 1 && only !== undefined && !readsArchives(only);
    const { left, from } = isOne ? this.skipInSql(only, start, rows) : { left: rows, from: start };
    if (left === 0) return from;
    const walks = this.planner.walks(nonEmpty, this.filter, from, nonEmpty.length > 1 ? TIME : NO_COLUMNS);
    const merge = this.merge(nonEmpty, walks);
    const reached: Partial<Record<SourceName, PagePosition>> = { ...from };
    for (let rest = left; rest > 0; rest--) {
      const found = merge.next(Math.min(rest, COUNTED));
      if (found === null) return null;
      const position = reached[found.source];
      if (position !== undefined)
        reached[found.source] = { before: found.sequence, snapshot: position.snapshot };
    }
    return reached;
  }

  /** Skips as far as SQL alone can decide which rows of the one table match. The caller walks over the rest. */
  private skipInSql(
    { source, table, plan, snapshot }: PreparedScan,
    start: PagePositions,
    rows: number,
  ): { left: number; from: PagePositions } {
    const counter = Counter.of(table, plan, this.filter, start[source.name]?.before ?? snapshot + 1);
    let left = rows;
    if (counter?.inOrder !== true) return { left, from: start };
    while (left > 0 && !counter.done) {
      if (this.isOver()) throw timeLimitError();
      const skipped = source.read((db) => counter.skip(db, left, stepEnd(db, SCAN_STEP_MS)));
      if (skipped === null) break;
      left -= skipped;
    }
    return { left, from: { ...start, [source.name]: { before: counter.before, snapshot } } };
  }

  /** Up to this many rows, the newest first. @throws AuditdError `USAGE` if they are too large for one page */
  take(from: PagePositions, rows: number): MatchedRow[] {
    const firsts = this.scans.flatMap(({ first }) => first?.walk ?? []);
    const walks =
      firsts.length === this.scans.length ? firsts : this.planner.walks(this.scans, this.filter, from, null);
    const merge = this.merge(this.scans, walks);
    const taken: MatchedRow[] = [];
    let size = 0;
    while (taken.length < rows) {
      const found = merge.next(rows - taken.length);
      if (found === null) break;
      size += found.event?.details?.length ?? 0;
      if (size > MOST_PAGE) throw tooLarge();
      taken.push(found);
    }
    return taken;
  }

  /** Every matching row of one scan, with these columns and those that decide. */
  *rowsOf(
    scan: PreparedScan,
    columns: ReadonlySet<ColumnKey>,
    readAhead: number,
  ): Generator<MatchedRow, void> {
    const merge = this.merge([scan], this.planner.walks([scan], this.filter, startOf([scan], null), columns));
    for (let row = merge.next(readAhead); row !== null; row = merge.next(readAhead)) yield row;
  }

  /** How many rows match. @param all false: beyond `COUNTED` it is enough to know that there are more */
  count(all: boolean): Total {
    const most = all ? Number.MAX_SAFE_INTEGER : COUNTED + 1;
    let total = 0;
    for (const scan of this.scans) {
      const counted = this.countOne(scan, most - total, all);
      total += counted.total;
      if (total >= most) return MANY;
      if (counted.ended) continue;
      if (all || this.isStrict) throw timeLimitError();
      return { total, total_exact: false };
    }
    return { total, total_exact: true };
  }

  /** Takes the count of the first step if it has one; counts in SQL or row by row otherwise. */
  private countOne(scan: PreparedScan, most: number, all: boolean): Counted {
    const known = scan.first?.total ?? null;
    if (known !== null) return { total: known, ended: true };
    return this.countInSql(scan, most) ?? this.countByWalk(scan, most, all);
  }

  /** Null if SQL alone can't decide which rows match. */
  private countInSql(scan: PreparedScan, most: number): Counted | null {
    const { source, table, plan, snapshot } = scan;
    const counter = readsArchives(scan) ? null : Counter.of(table, plan, this.filter, snapshot + 1);
    if (counter === null) return null;
    let total = 0;
    while (!counter.done && total < most && !this.isOver()) {
      const found = source.read((db) => counter.count(db, most - total, stepEnd(db, SCAN_STEP_MS)));
      if (found === null) return null;
      total += found;
    }
    return { total, ended: counter.done };
  }

  private countByWalk(scan: PreparedScan, most: number, all: boolean): Counted {
    const [walk] = this.planner.walks([scan], this.filter, startOf([scan], null), NO_COLUMNS);
    let total = 0;
    while (walk !== undefined && total < most) {
      total += walk.queue.length;
      walk.queue = [];
      if (walk.done || total >= most) break;
      if (this.isOver()) return { total, ended: false };
      const wanted = all ? COUNT_STEP : most - total;
      scan.source.read((db) => walk.step(db, wanted));
    }
    return { total, ended: true };
  }

  private merge(scans: readonly PreparedScan[], walks: readonly RowCursor[]): Merge {
    return new Merge(walks, (walk, wanted) => {
      if (this.isOver()) throw timeLimitError();
      scans[walks.indexOf(walk)]?.source.read((db) => walk.step(db, wanted));
    });
  }

  private isOver(): boolean {
    return performance.now() > this.deadline;
  }
}
