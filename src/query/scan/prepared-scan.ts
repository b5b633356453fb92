import type { SourceName } from '../../audit/event.js';
import { AuditdError } from '../../errors.js';
import type { ColumnKey } from '../../source/table-schema.js';
import type { ArchiveIndex } from '../archives/archive-reader.js';
import type { RowCursor } from '../archives/table-with-archives.js';
import type { PagePosition, PagePositions } from '../cursor.js';
import type { Filter } from '../filter.js';
import type { QueryPlan } from '../plan/plan.js';
import type { QueryTable } from '../plan/table-schema.js';
import type { QuerySource } from '../query-sources.js';
import type { MatchedRow } from './table-scan.js';

/** A table that is about to be read for a filter. */
export interface Prepared {
  readonly origin: QuerySource;
  readonly table: QueryTable;
  /** Null: the table alone is meant. */
  readonly shelf: ArchiveIndex | null;
  readonly snapshot: number;
  readonly plan: QueryPlan;
  /** False where the map of times has not all rows: others may be meant as well. */
  readonly isMapped: boolean;
  /** The first step, made in the same opening; null where none was asked for. */
  readonly first: First | null;
}

export interface First {
  readonly walk: RowCursor;
  /** How many rows are meant, if that is known already: all of them, or more than are counted. */
  readonly total: number | null;
}

/** What is to be read at once. Most pages are that and no more. */
export interface Wanted {
  /** Those that are looked at to merge them with another table's (merge.ts) among them. */
  readonly rows: number;
  readonly isCounted: boolean;
}

export function startOf(prepared: readonly Prepared[], begin: PagePositions | null): PagePositions {
  return Object.fromEntries(
    prepared.map(({ origin, snapshot }) => [
      origin.name,
      begin?.[origin.name] ?? { before: snapshot + 1, snapshot },
    ]),
  );
}

/** Whether there are archives whose rows are meant as well: then SQL alone can't count. */
export function readsArchives({ shelf }: Pick<Prepared, 'shelf'>): boolean {
  return shelf?.any === true;
}

/** What the answer lacks, for people; left out where it lacks nothing. */
export interface Incomplete {
  readonly incomplete?: string;
}

export function incompleteOf([one]: readonly Pick<Prepared, 'shelf'>[]): Incomplete {
  const words = one?.shelf?.incomplete ?? null;
  return words === null ? {} : { incomplete: words };
}

export function behind(from: PagePositions, shown: readonly MatchedRow[]): PagePositions {
  const reached: Partial<Record<SourceName, PagePosition>> = { ...from };
  for (const { source, sequence } of shown) {
    const position = reached[source];
    if (position !== undefined) reached[source] = { before: sequence, snapshot: position.snapshot };
  }
  return reached;
}

/** An archived row is an event only where one is asked for, or where only that can be decided. */
export function undecidedOf(filter: Filter, columns: ReadonlySet<ColumnKey> | null): QueryPlan['undecided'] {
  const { source: _source, archives: _archives, allowMissing: _allowMissing, from, to, ...rest } = filter;
  const timeAlone = columns !== null && [...columns].every((key) => key === 'created_at');
  if (!timeAlone || Object.values(rest).some((part) => part !== null)) return 'all';
  return from === null && to === null ? 'nothing' : 'time';
}

export function late(): AuditdError {
  return new AuditdError(
    'QUERY_LIMIT',
    'The query took longer than it may. Narrow it down with from and to, leave archives out (--no-archives, archives=false), or use export, which has no limit',
  );
}
