import type { Database } from 'better-sqlite3';
import type { ColumnKey } from '../../source/table-schema.js';
import type { SqlParam } from './address-variants.js';
import type { QueryTable } from './table-schema.js';

/** A lookup of the rows whose column has a value, in the order of ids. */
export interface IndexLookup {
  readonly key: ColumnKey;
  readonly value: SqlParam;
  /** A further condition on the rows. */
  readonly and?: Condition;
}

/** A part of a filter in SQL. The union of its branches has every matching row, and perhaps more. */
export interface Term {
  /** Null: the part can't be expressed by lookups. */
  readonly branches: readonly IndexLookup[] | null;
  /** A condition for a scan by id; null if there is none. */
  readonly condition: Condition | null;
  /** Whether the union has only matching rows. */
  readonly exact: boolean;
}

export interface Condition {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

/** A longer list of values costs more than checking the row. */
export const MOST_IN_LIST = 200;

/** Rows counted at most to find the part of a filter that matches the fewest. */
const SAMPLE = 20_000;

export function both(conditions: readonly Condition[]): Condition {
  return {
    sql: conditions.map(({ sql }) => sql).join(' AND '),
    params: conditions.flatMap(({ params }) => params),
  };
}

/** Whether an index finds the value. A partial index may omit NULL. */
export function isIndexed(table: QueryTable, { key, value }: IndexLookup): boolean {
  return value === null ? table.nullsIndexed.has(key) : table.indexed.has(key);
}

export function inList(table: QueryTable, key: ColumnKey, all: readonly SqlParam[]): Condition {
  const column = table.columns[key];
  const params = all.filter((value) => value !== null);
  const list = `${column} IN (${params.map(() => '?').join(', ')})`;
  return { sql: all.includes(null) ? `(${list} OR ${column} IS NULL)` : list, params };
}

/** SQL for the ids of a branch, the newest first. Its parameters are those of the branch, then those of `where`. */
export function branchSql(
  table: QueryTable,
  branch: IndexLookup,
  where: string,
  limit: string,
  what = table.columns.id,
): string {
  const { id } = table.columns;
  const { key, value, and } = branch;
  const by = table.indexed.get(key) ?? table.from;
  const equals = value === null ? 'IS NULL' : '= ?';
  const further = and === undefined ? '' : `AND ${and.sql}`;
  return `SELECT ${what} FROM ${by} WHERE ${table.columns[key]} ${equals} ${further} ${where} ORDER BY ${id} DESC ${limit}`;
}

export function branchParams({ value, and }: IndexLookup): SqlParam[] {
  return [...(value === null ? [] : [value]), ...(and?.params ?? [])];
}

/** The number of rows of the branches without their further conditions, counted up to SAMPLE in total. */
export function sampleRows(db: Database, table: QueryTable, branches: readonly IndexLookup[]): number {
  let rows = 0;
  for (const { key, value } of branches) {
    if (rows >= SAMPLE) break;
    const sql = branchSql(table, { key, value }, '', 'LIMIT ?');
    const count = db.prepare(`SELECT count(*) FROM (${sql})`).pluck();
    rows += Number(count.get(...branchParams({ key, value }), SAMPLE - rows));
  }
  return rows;
}
