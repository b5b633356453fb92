import type { AuditEvent, SourceName } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { stepEnd } from '../source/journal-mode.js';
import type { ColumnKey } from '../source/table-schema.js';
import type { RowCursor } from './archives/table-with-archives.js';
import { decodeCursor, encodeCursor, type PagePosition, type PagePositions } from './cursor.js';
import { briefEntryOf, entryOf } from './entry.js';
import { type Chunk, exportRows, type Format } from './export.js';
import type { Filter } from './filter.js';
import {
  COUNTED,
  MOST_PAGE,
  type PageRequest,
  type PageResult,
  type PageText,
  pageText,
  tooLarge,
} from './page.js';
import type { Versions } from './plan/versions.js';
import { type QueryOptions, QuerySources } from './query-sources.js';
import { LOOKAHEAD, Merge } from './scan/merge-sources.js';
import { behind, incompleteOf, late, type Prepared, readsArchives, startOf } from './scan/prepared-scan.js';
import { SCAN_STEP_MS, ScanPlanner } from './scan/scan-planner.js';
import { Counter } from './scan/sql-counter.js';
import type { MatchedRow } from './scan/table-scan.js';
import { type Stats, StatsTally } from './stats.js';
import { noteOf } from './unknown-names.js';

/** Rows that are read ahead. */
const AHEAD = 500;

/** What a page takes of it that is answered without a map of times, at most, before one is made (zones.ts: 3 s for 10,000,000 rows). */
const QUICK_MS = 100;

type Answer = Omit<PageResult, 'entries'> & { readonly events: AuditEvent[] };
type Total = Pick<PageResult, 'total' | 'total_exact'>;
const MANY: Total = { total: COUNTED, total_exact: false };

const NOTHING: ReadonlySet<ColumnKey> = new Set();
const TIME: ReadonlySet<ColumnKey> = new Set(['created_at']);
const TALLIED: ReadonlySet<ColumnKey> = new Set([
  'created_at',
  'action',
  'resource_type',
  'user_id',
  'user_name',
  'user_email',
  'ip_address',
  'server',
]);

/** Answers queries. Everything is synchronous and in short steps: it is made for a thread of its own (worker.ts). */
export class Engine {
  private readonly origins: QuerySources;
  private readonly reading: ScanPlanner;
  private readonly aliases: QueryOptions['aliases'];

  constructor(options: QueryOptions) {
    this.aliases = options.aliases;
    this.origins = new QuerySources(options);
    this.reading = new ScanPlanner(this.origins, options);
  }

  /** @throws AuditdError `USAGE`, `SOURCE_UNUSABLE`, or `QUERY_LIMIT` when the time is over */
  page(request: PageRequest): PageResult {
    const { events, ...rest } = this.find(request);
    const { brief = null } = request;
    const versions = this.versionsOf(events);
    const one = (event: AuditEvent) => (brief === null ? entryOf(event) : briefEntryOf(event, brief));
    const asked = (event: AuditEvent) => {
      const found = versions(event);
      return found.length === 0 ? one(event) : { ...one(event), versions: found.map(one) };
    };
    return { entries: events.map(asked), ...rest };
  }

  /** The same as text. @throws as `page` */
  text(request: PageRequest, format: Format): PageText {
    const { events, ...rest } = this.find(request);
    return pageText(events, rest, format, this.versionsOf(events));
  }

  private versionsOf(events: readonly AuditEvent[]): Versions {
    const ids = events.flatMap(({ source, sequence }) => (source === 'postern' ? [sequence] : []));
    const found = this.origins.versionsOf(ids);
    return ({ source, sequence }) => (source === 'postern' ? (found.get(sequence) ?? []) : []);
  }

  private find(request: PageRequest): Answer {
    const begun = performance.now();
    const deadline = begun + request.timeLimit;
    const { filter, limit, page } = request;
    const begin = request.cursor === null ? null : decodeCursor(request.cursor, filter);
    const isCounted = begin === null && request.count === 'some';
    const wanted = begin !== null || page === 1 ? { rows: limit + 1 + LOOKAHEAD, isCounted } : null;
    const prepared = this.reading.prepare(filter, begin, wanted, null);
    if (prepared.every(({ isMapped }) => isMapped)) return this.answer(request, begin, prepared, deadline);
    // Where enough of the newest rows are meant, nothing has to be known of the times of all others.
    const soon = Math.min(performance.now() + QUICK_MS, deadline);
    try {
      return this.answer(request, begin, prepared, soon, true);
    } catch (error) {
      if (!(error instanceof AuditdError) || error.code !== 'QUERY_LIMIT') throw error;
    }
    const mapped = this.reading.prepare(filter, begin, wanted, halfway(begun, deadline));
    return this.answer(request, begin, mapped, deadline);
  }

  /** @param isStrict whether a count that is not done in time is late, too */
  private answer(
    request: PageRequest,
    begin: PagePositions | null,
    prepared: readonly Prepared[],
    deadline: number,
    isStrict = false,
  ): Answer {
    const { filter, limit, page } = request;
    const skip = begin === null ? (page - 1) * limit : 0;
    const start = startOf(prepared, begin);
    const from = skip === 0 ? start : this.skip(prepared, filter, start, skip, deadline);
    const found = from === null ? [] : this.take(prepared, filter, from, limit + 1, deadline);
    const shown = found.slice(0, limit);
    const more = found.length > limit && from !== null;
    const known = begin === null && !more && (skip === 0 || shown.length > 0);
    const isAll = request.count === 'all';
    let total: Total = { total: null, total_exact: false };
    if (request.count !== 'none') {
      if (known) total = { total: skip + shown.length, total_exact: true };
      else if (!isAll && shown.length > 0 && skip + shown.length > COUNTED) total = MANY;
      else total = this.count(prepared, filter, isAll, deadline, isStrict);
    }
    return {
      events: shown.flatMap(({ event }) => event ?? []),
      page: begin === null ? page : null,
      limit,
      ...total,
      next: more ? encodeCursor(filter, behind(from, shown)) : null,
      ...incompleteOf(prepared),
      ...(shown.length === 0 && skip === 0 ? noteOf(filter, this.aliases) : {}),
    };
  }

  /** Everything that is meant, the newest first; each `next` is one step or a few. */
  export(filter: Filter, format: Format): Generator<Chunk, void> {
    const prepared = this.reading.prepare(filter, null, null, Number.POSITIVE_INFINITY);
    const walks = this.reading.walks(prepared, filter, startOf(prepared, null), null);
    const has = format !== 'csv' && this.origins.hasVersions();
    return exportRows(walks, format, {
      stepMs: SCAN_STEP_MS,
      reading: (walk, work) => prepared[walks.indexOf(walk)]?.origin.read(work),
      versionsOf: has ? (events) => this.versionsOf(events) : null,
      incomplete: () => incompleteOf(prepared).incomplete ?? null,
    });
  }

  /** @throws as `page` */
  stats(filter: Filter, top: number, timeLimit: number): Stats {
    const deadline = performance.now() + timeLimit;
    const prepared = this.reading.prepare(filter, null, null, halfway(performance.now(), deadline));
    const tally = new StatsTally();
    for (const one of prepared) {
      const [walk] = this.reading.walks([one], filter, startOf([one], null), TALLIED);
      if (walk === undefined) continue;
      const merge = this.merge([one], [walk], deadline);
      for (let found = merge.next(AHEAD); found !== null; found = merge.next(AHEAD)) {
        if (found.event !== null) tally.add(found.event);
      }
    }
    const stats = { ...tally.result(top), ...incompleteOf(prepared) };
    return stats.total === 0 ? { ...stats, ...noteOf(filter, this.aliases) } : stats;
  }

  close(): void {
    this.origins.close();
  }

  /** Goes over so many rows and says where that led; null if there are not so many. */
  private skip(
    prepared: readonly Prepared[],
    filter: Filter,
    start: PagePositions,
    rows: number,
    deadline: number,
  ): PagePositions | null {
    const lit = prepared.filter((one) => readsArchives(one) || one.plan.ranges.length > 0);
    const [only] = lit;
    const isOne = lit.length === 1 && only !== undefined && !readsArchives(only);
    const { left, from } = isOne
      ? this.skipInSql(only, filter, start, rows, deadline)
      : { left: rows, from: start };
    if (left === 0) return from;
    const walks = this.reading.walks(lit, filter, from, lit.length > 1 ? TIME : NOTHING);
    const merge = this.merge(lit, walks, deadline);
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

  /** As far as SQL alone can say which rows of the one table are meant; what is left has to be gone over. */
  private skipInSql(
    { origin, table, plan, snapshot }: Prepared,
    filter: Filter,
    start: PagePositions,
    rows: number,
    deadline: number,
  ): { left: number; from: PagePositions } {
    const counter = Counter.of(table, plan, filter, start[origin.name]?.before ?? snapshot + 1);
    let left = rows;
    if (counter?.inOrder !== true) return { left, from: start };
    while (left > 0 && !counter.done) {
      if (performance.now() > deadline) throw late();
      const skipped = origin.read((db) => counter.skip(db, left, stepEnd(db, SCAN_STEP_MS)));
      if (skipped === null) break;
      left -= skipped;
    }
    return { left, from: { ...start, [origin.name]: { before: counter.before, snapshot } } };
  }

  private take(
    prepared: readonly Prepared[],
    filter: Filter,
    from: PagePositions,
    rows: number,
    deadline: number,
  ): MatchedRow[] {
    const firsts = prepared.flatMap(({ first }) => first?.walk ?? []);
    const walks =
      firsts.length === prepared.length ? firsts : this.reading.walks(prepared, filter, from, null);
    const merge = this.merge(prepared, walks, deadline);
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

  /** When the time is over, what was counted until then. */
  private count(
    prepared: readonly Prepared[],
    filter: Filter,
    all: boolean,
    deadline: number,
    isStrict: boolean,
  ): Total {
    let total = 0;
    for (const one of prepared) {
      const known = one.first?.total ?? null;
      if (known !== null) {
        total += known;
        if (!all && total > COUNTED) return MANY;
        continue;
      }
      const most = all ? Number.MAX_SAFE_INTEGER : COUNTED + 1 - total;
      const counted = this.countInSql(one, filter, most, deadline);
      if (counted !== null) {
        total += counted.total;
        if (!all && total > COUNTED) return MANY;
        if (counted.ended) continue;
        if (all || isStrict) throw late();
        return { total, total_exact: false };
      }
      const [walk] = this.reading.walks([one], filter, startOf([one], null), NOTHING);
      while (walk !== undefined && (!walk.done || walk.queue.length > 0)) {
        total += walk.queue.length;
        walk.queue = [];
        if (!all && total > COUNTED) return MANY;
        if (walk.done) break;
        if (performance.now() > deadline) {
          if (all || isStrict) throw late();
          return { total, total_exact: false };
        }
        const wanted = all ? 100_000 : COUNTED + 1 - total;
        one.origin.read((db) => walk.step(db, wanted));
      }
    }
    return { total, total_exact: true };
  }

  /** Null where SQL alone can't say which rows are meant. */
  private countInSql(
    { origin, table, shelf, plan, snapshot }: Prepared,
    filter: Filter,
    most: number,
    deadline: number,
  ) {
    const counter = readsArchives({ shelf }) ? null : Counter.of(table, plan, filter, snapshot + 1);
    let total = 0;
    while (counter !== null && !counter.done && total < most && performance.now() <= deadline) {
      const found = origin.read((db) => counter.count(db, most - total, stepEnd(db, SCAN_STEP_MS)));
      if (found === null) return null;
      total += found;
    }
    return counter === null ? null : { total, ended: counter.done };
  }

  private merge(prepared: readonly Prepared[], walks: readonly RowCursor[], deadline: number | null): Merge {
    return new Merge(walks, (walk, wanted) => {
      if (deadline !== null && performance.now() > deadline) throw late();
      const { origin } = prepared[walks.indexOf(walk)] ?? {};
      origin?.read((db) => walk.step(db, wanted));
    });
  }
}

function halfway(begin: number, end: number): number {
  return begin + (end - begin) / 2;
}
