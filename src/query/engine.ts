import type { AuditEvent } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import type { ColumnKey } from '../source/table-schema.js';
import { decodeCursor, encodeCursor, type PagePositions } from './cursor.js';
import { briefEntryOf, entryOf } from './entry.js';
import { type Chunk, exportRows, type Format } from './export.js';
import type { Filter } from './filter.js';
import { COUNTED, type PageRequest, type PageResult, type PageText, pageText } from './page.js';
import type { Versions } from './plan/versions.js';
import type { QueryOptions } from './query-options.js';
import { QuerySources } from './query-sources.js';
import { LOOKAHEAD } from './scan/merge-sources.js';
import {
  incompleteOf,
  type PreparedScan,
  positionsAfter,
  SCAN_STEP_MS,
  ScanPlanner,
  startOf,
} from './scan/scan-planner.js';
import { MANY, ScanRun, type Total } from './scan/scan-run.js';
import { type Stats, StatsTally } from './stats.js';
import { noteOf } from './unknown-names.js';

/** Rows that statistics read ahead. */
const AHEAD = 500;

/** A page is tried for this long without a zone map. Building the map (plan/zone-map.ts) takes 3 s for 10,000,000 rows. */
const QUICK_MS = 100;

type Answer = Omit<PageResult, 'entries'> & { readonly events: AuditEvent[] };

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

/**
 * Answers queries in three stages: `QuerySources` finds the tables and archives that the filter needs, `ScanPlanner` plans a scan of each, and
 * `ScanRun` reads them. Everything is synchronous and in short steps, and runs in a thread of its own (thread/worker.ts).
 */
export class QueryEngine {
  private readonly sources: QuerySources;
  private readonly planner: ScanPlanner;
  private readonly aliases: QueryOptions['aliases'];

  constructor(options: QueryOptions) {
    this.aliases = options.aliases;
    this.sources = new QuerySources(options);
    this.planner = new ScanPlanner(this.sources, options);
  }

  /** @throws AuditdError `USAGE`, `SOURCE_UNUSABLE`, or `QUERY_LIMIT` when the time limit is exceeded */
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
    const found = this.sources.versionsOf(ids);
    return ({ source, sequence }) => (source === 'postern' ? (found.get(sequence) ?? []) : []);
  }

  private find(request: PageRequest): Answer {
    const begun = performance.now();
    const deadline = begun + request.timeLimit;
    const { filter, limit, page } = request;
    const begin = request.cursor === null ? null : decodeCursor(request.cursor, filter);
    const isCounted = begin === null && request.count === 'some';
    const wanted = begin !== null || page === 1 ? { rows: limit + 1 + LOOKAHEAD, isCounted } : null;
    const scans = this.planner.prepare(filter, begin, wanted, null);
    if (scans.every(({ isMapped }) => isMapped)) return this.answer(request, begin, scans, deadline);
    // If enough of the newest rows match, the times of all others are not needed.
    const soon = Math.min(performance.now() + QUICK_MS, deadline);
    try {
      return this.answer(request, begin, scans, soon, true);
    } catch (error) {
      if (!(error instanceof AuditdError) || error.code !== 'QUERY_LIMIT') throw error;
    }
    const mapped = this.planner.prepare(filter, begin, wanted, halfway(begun, deadline));
    return this.answer(request, begin, mapped, deadline);
  }

  /** @param isStrict whether a count that is not finished in time is an error, too */
  private answer(
    request: PageRequest,
    begin: PagePositions | null,
    scans: readonly PreparedScan[],
    deadline: number,
    isStrict = false,
  ): Answer {
    const { filter, limit, page } = request;
    const run = new ScanRun({ planner: this.planner, scans, filter, deadline, isStrict });
    const skipped = begin === null ? (page - 1) * limit : 0;
    const start = startOf(scans, begin);
    const from = skipped === 0 ? start : run.skip(start, skipped);
    const found = from === null ? [] : run.take(from, limit + 1);
    const shown = found.slice(0, limit);
    const more = found.length > limit && from !== null;
    const isLast = begin === null && !more && (skipped === 0 || shown.length > 0);
    return {
      events: shown.flatMap(({ event }) => event ?? []),
      page: begin === null ? page : null,
      limit,
      ...totalOf(run, request.count, skipped + shown.length, { isLast, isEmpty: shown.length === 0 }),
      next: more ? encodeCursor(filter, positionsAfter(from, shown)) : null,
      ...incompleteOf(scans),
      ...(shown.length === 0 && skipped === 0 ? noteOf(filter, this.aliases) : {}),
    };
  }

  /** Every matching entry, the newest first; each `next` is one step or a few. */
  export(filter: Filter, format: Format): Generator<Chunk, void> {
    const scans = this.planner.prepare(filter, null, null, Number.POSITIVE_INFINITY);
    const walks = this.planner.walks(scans, filter, startOf(scans, null), null);
    const has = format !== 'csv' && this.sources.hasVersions();
    return exportRows(walks, format, {
      stepMs: SCAN_STEP_MS,
      reading: (walk, work) => scans[walks.indexOf(walk)]?.source.read(work),
      versionsOf: has ? (events) => this.versionsOf(events) : null,
      incomplete: () => incompleteOf(scans).incomplete ?? null,
    });
  }

  /** @throws as `page` */
  stats(filter: Filter, top: number, timeLimit: number): Stats {
    const deadline = performance.now() + timeLimit;
    const scans = this.planner.prepare(filter, null, null, halfway(performance.now(), deadline));
    const run = new ScanRun({ planner: this.planner, scans, filter, deadline });
    const tally = new StatsTally();
    for (const scan of scans) {
      for (const { event } of run.rowsOf(scan, TALLIED, AHEAD)) if (event !== null) tally.add(event);
    }
    const stats = { ...tally.result(top), ...incompleteOf(scans) };
    return stats.total === 0 ? { ...stats, ...noteOf(filter, this.aliases) } : stats;
  }

  close(): void {
    this.sources.close();
  }
}

/** Counts only if the page itself does not show the number of rows. @param seen rows up to the end of this page */
function totalOf(
  run: ScanRun,
  wanted: PageRequest['count'],
  seen: number,
  { isLast, isEmpty }: { readonly isLast: boolean; readonly isEmpty: boolean },
): Total {
  if (wanted === 'none') return { total: null, total_exact: false };
  if (isLast) return { total: seen, total_exact: true };
  if (wanted === 'some' && !isEmpty && seen > COUNTED) return MANY;
  return run.count(wanted === 'all');
}

function halfway(begin: number, end: number): number {
  return begin + (end - begin) / 2;
}
