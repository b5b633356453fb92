import type { Database } from 'better-sqlite3';
import type { ColumnKey } from '../../source/table-schema.js';
import type { SqlParam } from './address-variants.js';
import type { QueryTable } from './table-schema.js';

/** Rows whose column has this value, in the order of ids. */
export interface IndexLookup {
  readonly key: ColumnKey;
  readonly value: SqlParam;
  /** What the rows have to meet besides. */
  readonly and?: Condition;
}

/** A part of a filter in SQL: the union of its branches has every row that is meant, and perhaps more. */
export interface Term {
  /** Null: it can't be put so. */
  readonly branches: readonly IndexLookup[] | null;
  /** SQL and its parameters for those who walk by id; null if there is none. */
  readonly condition: Condition | null;
  /** The union has no more than what is meant. */
  readonly exact: boolean;
}

export interface Condition {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

/** Above this a list of values costs more than a look at the row. */
export const MOST_IN_LIST = 200;

/** Rows that are counted to see which part of a filter leaves the fewest. */
const SAMPLE = 20_000;

export function both(conditions: readonly Condition[]): Condition {
  return {
    sql: conditions.map(({ sql }) => sql).join(' AND '),
    params: conditions.flatMap(({ params }) => params),
  };
}

/** An index may leave out the rows with NULL. */
export function isIndexed(table: QueryTable, { key, value }: IndexLookup): boolean {
  return value === null ? table.nullsIndexed.has(key) : table.indexed.has(key);
}

export function listed(table: QueryTable, key: ColumnKey, all: readonly SqlParam[]): Condition {
  const column = table.columns[key];
  const params = all.filter((value) => value !== null);
  const list = `${column} IN (${params.map(() => '?').join(', ')})`;
  return { sql: all.includes(null) ? `(${list} OR ${column} IS NULL)` : list, params };
}

/** Ids of a branch from the newest on; its parameters are those of the branch, with those of `where` behind them. */
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
  const besides = and === undefined ? '' : `AND ${and.sql}`;
  return `SELECT ${what} FROM ${by} WHERE ${table.columns[key]} ${equals} ${besides} ${where} ORDER BY ${id} DESC ${limit}`;
}

export function branchParams({ value, and }: IndexLookup): SqlParam[] {
  return [...(value === null ? [] : [value]), ...(and?.params ?? [])];
}

/** How many rows the branches have by their values alone, counted up to SAMPLE together. */
export function sampled(db: Database, table: QueryTable, branches: readonly IndexLookup[]): number {
  let rows = 0;
  for (const { key, value } of branches) {
    if (rows >= SAMPLE) break;
    const sql = branchSql(table, { key, value }, '', 'LIMIT ?');
    const count = db.prepare(`SELECT count(*) FROM (${sql})`).pluck();
    rows += Number(count.get(...branchParams({ key, value }), SAMPLE - rows));
  }
  return rows;
}
