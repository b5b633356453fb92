import type { Database } from 'better-sqlite3';
import { type ColumnKey, quoteIdentifier, type TableConfig } from '../../source/table-schema.js';
import { inspectTable, type QueryTable } from './table-schema.js';

/** The columns that queries look up. Times need no index, as ids follow them. Columns that may be NULL get a partial index. */
const WANTED: ReadonlyArray<readonly [ColumnKey, 'all' | 'not null']> = [
  ['action', 'all'],
  ['resource_type', 'not null'],
  ['user_id', 'not null'],
  ['user_name', 'not null'],
  ['user_email', 'not null'],
  ['ip_address', 'not null'],
  ['server', 'not null'],
];

interface MissingIndex {
  readonly name: string;
  readonly column: string;
  readonly sql: string;
  /** Its estimated size in bytes, from a sample of the rows. */
  readonly bytes: number;
}

export interface IndexPlan {
  readonly table: string;
  /** The span of ids, which is about the number of rows: old rows may be in archives. */
  readonly rows: number;
  readonly missing: readonly MissingIndex[];
}

const SAMPLE = 1_000;
/** Bytes of an index entry in addition to the value: the row id, SQLite's header, and pages that are not full. */
const OVERHEAD = 10;

function idSpan(db: Database, { maxId, columns, from }: QueryTable): number {
  const highest = Number(db.prepare(maxId).pluck().get() ?? 0);
  if (highest === 0) return 0;
  const lowest = db.prepare(`SELECT min(${columns.id}) FROM ${from} WHERE ${columns.id} > 0`).pluck().get();
  return highest - Number(lowest) + 1;
}

/** The indexes that a table lacks for queries. A view has no indexes. @throws AuditdError `SOURCE_UNUSABLE` */
export function missingIndexes(db: Database, config: TableConfig): IndexPlan {
  const table = inspectTable(db, config);
  const rows = idSpan(db, table);
  const wanted = table.isView
    ? []
    : WANTED.filter(([key]) => !table.absent.has(key) && !table.indexed.has(key));
  const missing = wanted.map(([key, which]) => {
    const column = table.columns[key];
    const name = `${table.name}_${key}`;
    const where = which === 'all' ? '' : ` WHERE ${column} IS NOT NULL`;
    const average = db
      .prepare(
        `SELECT total(length(CAST(value AS BLOB)) + ${OVERHEAD}) / max(1, count(*))
         FROM (SELECT ${column} AS value FROM ${table.byId} ORDER BY ${table.columns.id} DESC LIMIT ${SAMPLE})`,
      )
      .pluck()
      .get();
    return {
      name,
      column: config.columns[key] ?? key,
      sql: `CREATE INDEX IF NOT EXISTS ${quoteIdentifier(name)} ON ${table.from} (${column})${where}`,
      bytes: Math.round(Number(average) * rows * 1.1),
    };
  });
  return { table: table.name, rows, missing };
}
