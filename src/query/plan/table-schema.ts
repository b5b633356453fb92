import type { Database } from 'better-sqlite3';
import { TimeZone } from '../../audit/time-zone.js';
import { AuditdError } from '../../errors.js';
import type { ColumnsRead } from '../../source/columns-seen.js';
import { readable } from '../../source/oversized-values.js';
import {
  type AuditTable,
  COLUMN_KEYS,
  type ColumnKey,
  quoteIdentifier,
  TableCache,
  type TableConfig,
} from '../../source/table-schema.js';

interface IndexColumn {
  readonly name: string;
  readonly partial: number;
  readonly column: string | null;
  readonly cid: number;
  readonly coll: string;
}

/** An audit table as queries see it: the SQL of its columns, and which of them an index finds. */
export interface QueryTable {
  readonly name: string;
  readonly isView: boolean;
  /** Whether a time that is written without a zone is one of UTC: else its text alone does not say which it is. */
  readonly isUtc: boolean;
  /** Of such times. */
  readonly timeZone: string;
  readonly defaults: AuditTable['defaults'];
  readonly absent: ReadonlySet<ColumnKey>;
  /** `"audit_log"`, quoted. */
  readonly from: string;
  /** Ditto, so that SQLite goes by the row id and by nothing else. */
  readonly byId: string;
  /** The same by the index on a column whose entries are in the order of ids; the columns that have none are left out. */
  readonly indexed: ReadonlyMap<ColumnKey, string>;
  /** Those of them whose index has the rows with NULL, too. */
  readonly nullsIndexed: ReadonlySet<ColumnKey>;
  /** By an index that has every row, in whatever order: to count them takes a tenth of the pages. Null if there is none. */
  readonly byAny: string | null;
  /** Column expressions, quoted; NULL where the table has none. */
  readonly columns: Readonly<Record<ColumnKey, string>>;
  /** `AND typeof(id) = 'integer'` of a view, which may have anything for an id; empty for a table. */
  readonly integers: string;
  readonly maxId: string;
}

/** Remembers the table as long as the SQL that made it and its indexes is the same: to look anew costs more than to read a page. */
export class TableInspector {
  private readonly cache: TableCache;
  private known: { readonly table: AuditTable; readonly indexes: string; readonly seen: QueryTable } | null =
    null;

  constructor(
    private readonly config: TableConfig,
    read?: () => ColumnsRead,
  ) {
    this.cache = new TableCache(config, undefined, undefined, read);
  }

  /** @throws AuditdError `SOURCE_UNUSABLE` if there is no such table, or it has not the columns */
  look(db: Database): QueryTable {
    const table = this.cache.get(db);
    if ('state' in table) throw new AuditdError('SOURCE_UNUSABLE', table.message);
    const made = db
      .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? ORDER BY name")
      .all(table.name);
    const indexes = JSON.stringify(made);
    if (this.known?.table !== table || this.known.indexes !== indexes)
      this.known = { table, indexes, seen: inspect(db, this.config, table) };
    return this.known.seen;
  }
}

/** @throws AuditdError as `TableInspector` */
export function inspectTable(db: Database, config: TableConfig): QueryTable {
  return new TableInspector(config).look(db);
}

function inspect(db: Database, config: TableConfig, table: AuditTable): QueryTable {
  const absent = new Set(table.absent);
  const columns = Object.fromEntries(
    COLUMN_KEYS.map((key) => [key, absent.has(key) ? 'NULL' : quoteIdentifier(config.columns[key] ?? key)]),
  ) as Record<ColumnKey, string>;
  const from = quoteIdentifier(table.name);
  const indexes = table.isView ? NO_INDEXES : usableIndexes(db, table.name, columns, from, absent);
  return {
    name: table.name,
    isView: table.isView,
    isUtc: TimeZone.of(config.time_zone) === null,
    timeZone: config.time_zone ?? 'UTC',
    defaults: table.defaults,
    absent,
    from,
    byId: table.isView ? from : `${from} NOT INDEXED`,
    indexed: indexes.any,
    nullsIndexed: indexes.nulls,
    byAny: indexes.whole,
    columns,
    integers: table.isView ? `AND typeof(${columns.id}) = 'integer'` : '',
    maxId: table.sql.maxId,
  };
}

interface Indexes {
  readonly any: ReadonlyMap<ColumnKey, string>;
  readonly nulls: ReadonlySet<ColumnKey>;
  readonly whole: string | null;
}

const NO_INDEXES: Indexes = { any: new Map(), nulls: new Set(), whole: null };

/**
 * Only an index on the column alone is in the order of ids for each of its values. Whether SQLite can use it (collation, an
 * expression, a condition) it says itself when it is told to.
 */
function usableIndexes(
  db: Database,
  table: string,
  columns: Readonly<Record<ColumnKey, string>>,
  from: string,
  absent: ReadonlySet<ColumnKey>,
): Indexes {
  const found = db
    .prepare(
      `SELECT l.name AS name, l.partial AS partial, x.name AS column, x.cid AS cid, x.coll AS coll
       FROM pragma_index_list(?) AS l, pragma_index_xinfo(l.name) AS x
       WHERE x.key = 1 ORDER BY l.partial, l.name`,
    )
    .all(table) as IndexColumn[];
  const single = found.filter(({ name }) => found.filter((other) => other.name === name).length === 1);
  const any = new Map<ColumnKey, string>();
  const nulls = new Set<ColumnKey>();
  for (const key of COLUMN_KEYS) {
    if (key === 'id' || absent.has(key)) continue;
    const column = columns[key];
    for (const index of single) {
      if (index.column === null || index.coll !== 'BINARY') continue;
      if (quoteIdentifier(index.column).toLowerCase() !== column.toLowerCase()) continue;
      const by = `${from} INDEXED BY ${quoteIdentifier(index.name)}`;
      if (!prepares(db, `SELECT ${columns.id} FROM ${by} WHERE ${column} = ?`)) continue;
      any.set(key, by);
      if (prepares(db, `SELECT ${columns.id} FROM ${by} WHERE ${column} IS NULL`)) nulls.add(key);
      break;
    }
  }
  const whole = single
    .filter(({ partial }) => partial === 0)
    .map(({ name }) => `${from} INDEXED BY ${quoteIdentifier(name)}`)
    .find((by) => prepares(db, `SELECT count(*) FROM (SELECT 1 FROM ${by} WHERE ${columns.id} < ? LIMIT ?)`));
  return { any, nulls, whole: whole ?? null };
}

function prepares(db: Database, sql: string): boolean {
  try {
    db.prepare(sql);
    return true;
  } catch {
    return false;
  }
}

/** The columns in the order of COLUMN_KEYS; those that are not asked for as NULL, so that they are not read. */
export function selectList(table: QueryTable, wanted: ReadonlySet<ColumnKey> | null): string {
  return COLUMN_KEYS.map((key) => {
    if (key === 'id') return table.columns.id;
    return (wanted === null || wanted.has(key)) && !table.absent.has(key)
      ? readable(table.columns[key])
      : 'NULL';
  }).join(', ');
}
