import type { Database } from 'better-sqlite3';
import type { SourceName } from '../../audit/event.js';
import { AuditdError } from '../../errors.js';
import { stepEnd } from '../../source/journal-mode.js';
import type { ColumnKey } from '../../source/table-schema.js';
import { ArchivedRows, type ArchiveIndex } from '../archives/archive-reader.js';
import { type RowCursor, TableWithArchives } from '../archives/table-with-archives.js';
import type { PagePosition, PagePositions } from '../cursor.js';
import type { Filter } from '../filter.js';
import { COUNTED } from '../page.js';
import { planQuery, type QueryPlan } from '../plan/plan.js';
import { timeSieve } from '../plan/sql-time.js';
import type { QueryTable } from '../plan/table-schema.js';
import type { QueryOptions } from '../query-options.js';
import type { QuerySource, QuerySources } from '../query-sources.js';
import { createMatcher, createTimeMatcher } from './matcher.js';
import { Counter } from './sql-counter.js';
import { type MatchedRow, TableScan } from './table-scan.js';

/** The longest time, about, that a step takes. The database is closed after each step. */
export const SCAN_STEP_MS = 40;

/** The plan for reading one table for a filter. */
export interface PreparedScan {
  readonly source: QuerySource;
  readonly table: QueryTable;
  /** Null: only the table is read. */
  readonly archives: ArchiveIndex | null;
  readonly snapshot: number;
  readonly plan: QueryPlan;
  /** False if the zone map does not have all rows, so that the plan's ranges may be larger than needed. */
  readonly isMapped: boolean;
  /** The first step, made while the database was open for the plan; null if none was wanted. */
  readonly first: FirstStep | null;
}

export interface FirstStep {
  readonly walk: RowCursor;
  /** The number of matching rows if it is already known, or a number above the limit of counting. */
  readonly total: number | null;
}

/** What to read in the first step, which is enough for most pages. */
export interface Wanted {
  /** Includes the rows that merge-sources.ts reads ahead to compare tables. */
  readonly rows: number;
  readonly isCounted: boolean;
}

/** Plans how the tables are read for a filter: which rows of each, and in which steps. */
export class ScanPlanner {
  constructor(
    private readonly sources: QuerySources,
    private readonly options: Pick<QueryOptions, 'server' | 'redact'>,
  ) {}

  /**
   * Plans the scan of each table that the filter needs, and makes the first step if one is wanted.
   *
   * @param mapUntil the end of the time for building the zone map, by `performance.now()`. An unfinished map hides no row. Null: the map is
   *   used as it is
   */
  prepare(
    filter: Filter,
    begin: PagePositions | null,
    wanted: Wanted | null,
    mapUntil: number | null,
  ): PreparedScan[] {
    const context = {
      classify: this.sources.classify,
      server: this.options.server,
      trusted: this.sources.trusted,
      mayPrefilter: this.options.redact.mode === 'mask',
    };
    const archives = this.sources.archives(filter);
    const gone = this.sources.gone(filter);
    let total = 0;
    return this.sources
      .of(filter.source)
      .filter(({ name }) => begin === null || begin[name] !== undefined)
      .map((source) => {
        const most = begin?.[source.name]?.snapshot ?? Number.MAX_SAFE_INTEGER - 1;
        /** Null if the zone map needs another step. */
        const step = (): PreparedScan | null =>
          source.read((db) => {
            const table = source.table.inspect(db);
            const highest = Number(db.prepare(table.maxId).pluck().safeIntegers().get() ?? 0);
            const place = { highest, snapshot: Math.min(highest, most) };
            const end = mapUntil === null ? null : stepEnd(db, SCAN_STEP_MS);
            const { ranges, isWhole } = source.zones.ranges(db, table, filter, place, end);
            if (!isWhole && mapUntil !== null && performance.now() < mapUntil) return null;
            const without = this.sources.without(db, filter, source, gone);
            const plan = planQuery(db, table, filter, { ...context, without }, ranges);
            const archived = archives?.highestId(source.name) ?? 0;
            const snapshot = Math.min(Math.max(highest, archived), most);
            const found = { source, table, archives, snapshot, plan, isMapped: isWhole, first: null };
            if (wanted === null) return found;
            return { ...found, first: this.first(db, found, filter, begin, wanted, COUNTED + 1 - total) };
          });
        let one = step();
        while (one === null) one = step();
        total += one.first?.total ?? 0;
        return one;
      });
  }

  /** Reads and counts as much as fits into one step. */
  private first(
    db: Database,
    one: PreparedScan,
    filter: Filter,
    begin: PagePositions | null,
    { rows, isCounted }: Wanted,
    most: number,
  ): FirstStep | null {
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

  /** @param columns needed in addition to those of the filter; null: all */
  walks(
    prepared: readonly PreparedScan[],
    filter: Filter,
    from: PagePositions,
    columns: ReadonlySet<ColumnKey> | null,
  ): RowCursor[] {
    const matches = createMatcher(filter);
    const inTime = createTimeMatcher(filter);
    return prepared.map(({ source, table, archives, plan, snapshot }) => {
      const before = from[source.name]?.before ?? snapshot + 1;
      const { rows, archived: reader, name } = source;
      const shared = { table, matches, inTime, before, stepMs: SCAN_STEP_MS };
      const walk = new TableScan({
        ...shared,
        source: name,
        plan,
        rows,
        columns,
        sieve: timeSieve(table, filter),
      });
      if (archives === null) return walk;
      const archived = new ArchivedRows(archives, name, filter, before, reader.timeZone);
      const undecided = undecidedOf(filter, columns);
      const hidden = this.sources.hides(filter, source);
      return new TableWithArchives({
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

export function startOf(prepared: readonly PreparedScan[], begin: PagePositions | null): PagePositions {
  return Object.fromEntries(
    prepared.map(({ source, snapshot }) => [
      source.name,
      begin?.[source.name] ?? { before: snapshot + 1, snapshot },
    ]),
  );
}

/** Whether archives are read too, so that SQL alone can't count. */
export function readsArchives({ archives }: Pick<PreparedScan, 'archives'>): boolean {
  return archives?.any === true;
}

/** The entries that the answer lacks, as text; omitted if it lacks none. */
export interface Incomplete {
  readonly incomplete?: string;
}

export function incompleteOf([one]: readonly Pick<PreparedScan, 'archives'>[]): Incomplete {
  const words = one?.archives?.incomplete ?? null;
  return words === null ? {} : { incomplete: words };
}

export function positionsAfter(from: PagePositions, shown: readonly MatchedRow[]): PagePositions {
  const reached: Partial<Record<SourceName, PagePosition>> = { ...from };
  for (const { source, sequence } of shown) {
    const position = reached[source];
    if (position !== undefined) reached[source] = { before: sequence, snapshot: position.snapshot };
  }
  return reached;
}

/** The check that an archived row still needs. It becomes an event only if the filter or the caller needs one. */
function undecidedOf(filter: Filter, columns: ReadonlySet<ColumnKey> | null): QueryPlan['undecided'] {
  const { source: _source, archives: _archives, allowMissing: _allowMissing, from, to, ...rest } = filter;
  const timeAlone = columns !== null && [...columns].every((key) => key === 'created_at');
  if (!timeAlone || Object.values(rest).some((part) => part !== null)) return 'all';
  return from === null && to === null ? 'nothing' : 'time';
}

export function timeLimitError(): AuditdError {
  return new AuditdError('QUERY_LIMIT', 'The query exceeded its time limit', {
    next: 'Narrow it down with from and to, leave archives out (--no-archives, archives=false), or use export, which has no limit',
  });
}
