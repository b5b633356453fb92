import type { Database } from 'better-sqlite3';
import { stepEnd } from '../../source/journal-mode.js';
import type { ColumnKey } from '../../source/table-schema.js';
import { ArchivedRows } from '../archives/archive-reader.js';
import { ArchivedWalk, type RowCursor } from '../archives/table-with-archives.js';
import type { PagePositions } from '../cursor.js';
import type { Filter } from '../filter.js';
import { COUNTED } from '../page.js';
import { planQuery } from '../plan/plan.js';
import { timeSieve } from '../plan/sql-time.js';
import type { QueryOptions, QuerySources } from '../query-sources.js';
import { createMatcher, createTimeMatcher } from './matcher.js';
import {
  type First,
  type Prepared,
  readsArchives,
  startOf,
  undecidedOf,
  type Wanted,
} from './prepared-scan.js';
import { Counter } from './sql-counter.js';
import { TableScan } from './table-scan.js';

/** A step, after which the database is closed again, takes about this long at most. */
export const SCAN_STEP_MS = 40;

/** How the tables are read for a filter: which rows of each, and in which steps. */
export class ScanPlanner {
  constructor(
    private readonly origins: QuerySources,
    private readonly options: Pick<QueryOptions, 'server' | 'redact'>,
  ) {}

  /**
   * Finds the plan of each table that a filter means, and reads the first page where one is wanted.
   *
   * @param mapUntil so long the map of times may be made, of `performance.now()`; with half of one every row is found as well. Null: it is used as it is
   */
  prepare(
    filter: Filter,
    begin: PagePositions | null,
    wanted: Wanted | null,
    mapUntil: number | null,
  ): Prepared[] {
    const context = {
      classify: this.origins.classify,
      server: this.options.server,
      trusted: this.origins.trusted,
      mayPrefilter: this.options.redact.mode === 'mask',
    };
    const shelf = this.origins.archives(filter);
    const gone = this.origins.gone(filter);
    let total = 0;
    return this.origins
      .of(filter.source)
      .filter(({ name }) => begin === null || begin[name] !== undefined)
      .map((origin) => {
        const most = begin?.[origin.name]?.snapshot ?? Number.MAX_SAFE_INTEGER - 1;
        /** Null if there is more to be known before. */
        const step = (): Prepared | null =>
          origin.read((db) => {
            const table = origin.table.look(db);
            const highest = Number(db.prepare(table.maxId).pluck().safeIntegers().get() ?? 0);
            const place = { highest, snapshot: Math.min(highest, most) };
            const end = mapUntil === null ? null : stepEnd(db, SCAN_STEP_MS);
            const { ranges, isWhole } = origin.zones.ranges(db, table, filter, place, end);
            if (!isWhole && mapUntil !== null && performance.now() < mapUntil) return null;
            const without = this.origins.without(db, filter, origin, gone);
            const plan = planQuery(db, table, filter, { ...context, without }, ranges);
            const archived = shelf?.highestId(origin.name) ?? 0;
            const snapshot = Math.min(Math.max(highest, archived), most);
            const found = { origin, table, shelf, snapshot, plan, isMapped: isWhole, first: null };
            if (wanted === null) return found;
            return { ...found, first: this.first(db, found, filter, begin, wanted, COUNTED + 1 - total) };
          });
        let one = step();
        while (one === null) one = step();
        total += one.first?.total ?? 0;
        return one;
      });
  }

  /** As much as one step has time for. */
  private first(
    db: Database,
    one: Prepared,
    filter: Filter,
    begin: PagePositions | null,
    { rows, isCounted }: Wanted,
    most: number,
  ): First | null {
    const end = stepEnd(db, SCAN_STEP_MS);
    const [walk] = this.walks([one], filter, startOf([one], begin), null);
    if (walk === undefined) return null;
    walk.step(db, rows);
    if (!isCounted) return { walk, total: null };
    if (walk.done) return { walk, total: walk.queue.length };
    if (most <= 0 || readsArchives(one) || performance.now() > end) return { walk, total: null };
    const counter = Counter.of(one.table, one.plan, filter, one.snapshot + 1);
    const counted = counter?.count(db, most, end) ?? null;
    const isKnown = counted !== null && (counter?.done === true || counted >= most);
    return { walk, total: isKnown ? counted : null };
  }

  /** @param columns besides those that decide; null: all */
  walks(
    prepared: readonly Prepared[],
    filter: Filter,
    from: PagePositions,
    columns: ReadonlySet<ColumnKey> | null,
  ): RowCursor[] {
    const matches = createMatcher(filter);
    const inTime = createTimeMatcher(filter);
    return prepared.map(({ origin, table, shelf, plan, snapshot }) => {
      const before = from[origin.name]?.before ?? snapshot + 1;
      const { rows, archived: reader, name: source } = origin;
      const shared = { table, matches, inTime, before, stepMs: SCAN_STEP_MS };
      const walk = new TableScan({ ...shared, source, plan, rows, columns, sieve: timeSieve(table, filter) });
      if (shelf === null) return walk;
      const archived = new ArchivedRows(shelf, source, filter, before, reader.timeZone);
      const undecided = undecidedOf(filter, columns);
      const hidden = this.origins.hides(filter, origin);
      return new ArchivedWalk({
        ...shared,
        walk,
        rows: archived,
        reader,
        undecided,
        withoutVersions: hidden,
      });
    });
  }
}
