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

/** An audit table as queries use it: the SQL of its columns, and which columns have an index. */
export interface QueryTable {
  readonly name: string;
  readonly isView: boolean;
  /** Whether times without a zone are UTC. If not, their text alone does not decide. */
  readonly isUtc: boolean;
  /** The time zone of times without one. */
  readonly timeZone: string;
  readonly defaults: AuditTable['defaults'];
  readonly absent: ReadonlySet<ColumnKey>;
  /** `"audit_log"`, quoted. */
  readonly from: string;
  /** The same with `NOT INDEXED`, so that SQLite scans by row id. */
  readonly byId: string;
  /** The same with `INDEXED BY`, per column that has an index whose entries are in the order of ids. */
  readonly indexed: ReadonlyMap<ColumnKey, string>;
  /** The columns whose index includes NULL. */
  readonly nullsIndexed: ReadonlySet<ColumnKey>;
  /** The same with an index that has every row: counting by it reads a tenth of the pages. Null if there is none. */
  readonly byAny: string | null;
  /** Column expressions, quoted; NULL for columns that the table lacks. */
  readonly columns: Readonly<Record<ColumnKey, string>>;
  /** `AND typeof(id) = 'integer'` for a view, whose ids may have any type; empty for a table. */
  readonly integers: string;
  readonly maxId: string;
}

/** Inspects the table, and caches the result as long as the SQL of the table and its indexes is unchanged: an inspection costs more than a page. */
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

  /** @throws AuditdError `SOURCE_UNUSABLE` if the table or one of its columns is missing */
  inspect(db: Database): QueryTable {
    const table = this.cache.get(db);
    if ('state' in table) throw new AuditdError('SOURCE_UNUSABLE', table.what, { next: table.next });
    const made = db
      .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? ORDER BY name")
      .all(table.name);
    const indexes = JSON.stringify(made);
    if (this.known?.table !== table || this.known.indexes !== indexes)
      this.known = { table, indexes, seen: describeTable(db, this.config, table) };
    return this.known.seen;
  }
}

/** @throws AuditdError as `TableInspector` */
export function inspectTable(db: Database, config: TableConfig): QueryTable {
  return new TableInspector(config).inspect(db);
}

function describeTable(db: Database, config: TableConfig, table: AuditTable): QueryTable {
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
 * Only an index on the column alone is in the order of ids for each value. Preparing a statement with INDEXED BY shows whether SQLite can
 * use the index (collation, an expression, a condition).
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

/** The columns in the order of COLUMN_KEYS. Columns that are not needed are NULL, so that they are not read. */
export function selectList(table: QueryTable, wanted: ReadonlySet<ColumnKey> | null): string {
  return COLUMN_KEYS.map((key) => {
    if (key === 'id') return table.columns.id;
    return (wanted === null || wanted.has(key)) && !table.absent.has(key)
      ? readable(table.columns[key])
      : 'NULL';
  }).join(', ');
}
