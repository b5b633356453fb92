import type { Database } from 'better-sqlite3';
import type { Classifier, EventType } from '../audit/catalog.js';
import type { ColumnKey } from '../source/columns.js';
import { type Bounds, timeBounds } from './bounds.js';
import type { Filter } from './filter.js';
import {
  addressRanges,
  addressSpellings,
  distinctValues,
  isAmbiguous,
  type SqlParam,
  textOfParam,
  variantsOf,
} from './spellings.js';
import type { QueryTable } from './table.js';

/** Rows whose column has this value, in the order of ids. */
export interface Branch {
  readonly key: ColumnKey;
  readonly value: SqlParam;
  /** What the rows have to meet besides. */
  readonly and?: Condition;
}

/** A part of a filter in SQL: the union of its branches has every row that is meant, and perhaps more. */
interface Term {
  /** Null: it can't be put so. */
  readonly branches: readonly Branch[] | null;
  /** SQL and its parameters for those who walk by id; null if there is none. */
  readonly condition: Condition | null;
  /** The union has no more than what is meant. */
  readonly exact: boolean;
}

export interface Condition {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

/** How one table is read for one filter. */
export interface Plan {
  readonly bounds: Bounds;
  /** Null: row by row. */
  readonly branches: readonly Branch[] | null;
  /** For a walk row by row. */
  readonly conditions: readonly Condition[];
  /** What is left to decide of the rows that SQL gives: nothing, their time alone, or all there is to it. */
  readonly undecided: 'nothing' | 'time' | 'all';
  /** What has to be read of a row to decide. */
  readonly columns: ReadonlySet<ColumnKey>;
}

export interface PlanContext {
  readonly classify: Classifier;
  readonly server: string;
  /** Whether the text of `details` is searched in what SQLite has, too: not where it is shown otherwise. */
  readonly mayPrefilter: boolean;
}

const MOST_NAMES = 400;
const MOST_PAIRS = 40_000;
const MOST_ADDRESSES = 5_000;
/** Rows that are counted to see which part of a filter leaves the fewest. */
const SAMPLE = 20_000;
/** Above this a list of values costs more than a look at the row. */
const MOST_IN_LIST = 200;

/** Decides how the rows from 1 to `snapshot` are read. One step: a few hundred seeks at most. */
export function planQuery(
  db: Database,
  table: QueryTable,
  filter: Filter,
  context: PlanContext,
  snapshot: number,
): Plan {
  const terms = termsOf(db, table, filter, context);
  const bounds = timeBounds(db, table, filter, snapshot);
  const timed = filter.from !== null || filter.to !== null;
  const columns = columnsOf(filter);
  const conditions = terms.flatMap(({ condition }) => condition ?? []);
  const nothing = terms.some(({ branches }) => branches?.length === 0);
  if (nothing || bounds.highest < bounds.lowest) {
    return { bounds: { lowest: 1, highest: 0 }, branches: [], conditions, undecided: 'nothing', columns };
  }
  const driver = fewest(db, table, terms);
  const others = terms.filter((one) => one !== driver).flatMap(({ condition }) => condition ?? []);
  const decided = terms.every((one) => one.exact && (one === driver || one.condition !== null));
  return {
    bounds,
    branches: driver?.branches?.map((branch) => withConditions(branch, others)) ?? null,
    conditions,
    undecided: decided ? (timed ? 'time' : 'nothing') : 'all',
    columns,
  };
}

function withConditions(branch: Branch, conditions: readonly Condition[]): Branch {
  const all = [...(branch.and === undefined ? [] : [branch.and]), ...conditions];
  return all.length === 0 ? branch : { ...branch, and: both(all) };
}

function both(conditions: readonly Condition[]): Condition {
  return {
    sql: conditions.map(({ sql }) => sql).join(' AND '),
    params: conditions.flatMap(({ params }) => params),
  };
}

function columnsOf(filter: Filter): Set<ColumnKey> {
  const columns = new Set<ColumnKey>();
  const add = (wanted: boolean, ...keys: ColumnKey[]) => {
    if (wanted) for (const key of keys) columns.add(key);
  };
  add(filter.from !== null || filter.to !== null, 'created_at');
  add(filter.action !== null || filter.outcome !== null, 'action', 'resource_type');
  add(filter.resourceType !== null, 'resource_type');
  add(filter.user !== null, 'user_id', 'user_name', 'user_email');
  add(filter.server !== null, 'server');
  add(filter.ip !== null, 'ip_address');
  add(filter.q !== null, 'details');
  return columns;
}

function termsOf(db: Database, table: QueryTable, filter: Filter, context: PlanContext): Term[] {
  const { action, outcome, resourceType, user, server, ip, q } = filter;
  const terms: Term[] = [];
  if (resourceType !== null) terms.push(values(db, table, ['resource_type'], resourceType));
  if (user !== null) terms.push(values(db, table, ['user_id', 'user_name', 'user_email'], user));
  if (server !== null) terms.push(serverTerm(db, table, server, context.server));
  if (action !== null)
    terms.push(
      kindTerm(db, table, context.classify, (type, raw) => type.action === action || raw === action),
    );
  if (outcome !== null) terms.push(kindTerm(db, table, context.classify, (type) => type.outcome === outcome));
  if (ip !== null) {
    const found = addressSpellings(db, table, ip, MOST_ADDRESSES);
    const branches = found?.map((value) => ({ key: 'ip_address', value }) as const) ?? null;
    terms.push(
      branches === null
        ? { branches, condition: rangesCondition(table, addressRanges(ip)), exact: false }
        : term(table, branches, true),
    );
  }
  if (q !== null) terms.push({ branches: null, condition: textCondition(table, q, context), exact: false });
  return terms;
}

function rangesCondition(table: QueryTable, ranges: ReturnType<typeof addressRanges>): Condition | null {
  if (ranges === null || ranges.length * 2 > MOST_IN_LIST || table.absent.has('ip_address')) return null;
  const column = table.columns.ip_address;
  return {
    sql: `(${ranges.map(() => `(${column} >= ? AND ${column} < ?)`).join(' OR ')})`,
    params: ranges.flatMap(({ from, below }) => [from, below]),
  };
}

/** Columns of which one has the text. */
function values(db: Database, table: QueryTable, keys: readonly ColumnKey[], text: string): Term {
  const branches = keys
    .filter((key) => !table.absent.has(key))
    .flatMap((key) => variantsOf(text).map((value) => ({ key, value })));
  return pruned(db, table, term(table, branches, !isAmbiguous(text)));
}

/** Rows that name no server are of this one. */
function serverTerm(db: Database, table: QueryTable, server: string, own: string): Term {
  if (server !== own) return values(db, table, ['server'], server);
  if (table.absent.has('server')) return { branches: null, condition: { sql: '1', params: [] }, exact: true };
  const all = [...variantsOf(server), null, '', Buffer.alloc(0)];
  return term(
    table,
    all.map((value) => ({ key: 'server', value }) as const),
    !isAmbiguous(server),
  );
}

function term(table: QueryTable, branches: readonly Branch[] | null, exact: boolean): Term {
  if (branches === null) return { branches: null, condition: null, exact: false };
  const condition = conditionOf(table, branches);
  const indexed = branches.every((branch) => isIndexed(table, branch));
  return { branches: indexed ? branches : null, condition, exact: exact && indexed };
}

/** An index may leave out the rows with NULL. */
function isIndexed(table: QueryTable, { key, value }: Branch): boolean {
  return value === null ? table.nullsIndexed.has(key) : table.indexed.has(key);
}

function conditionOf(table: QueryTable, branches: readonly Branch[]): Condition | null {
  if (branches.length > MOST_IN_LIST) return null;
  if (branches.length === 0) return { sql: '0', params: [] };
  const parts = [...new Set(branches.map(({ key }) => key))].map((key) =>
    listed(
      table,
      key,
      branches.filter((branch) => branch.key === key).map(({ value }) => value),
    ),
  );
  return {
    sql: `(${parts.map(({ sql }) => sql).join(' OR ')})`,
    params: parts.flatMap(({ params }) => params),
  };
}

function listed(table: QueryTable, key: ColumnKey, all: readonly SqlParam[]): Condition {
  const column = table.columns[key];
  const params = all.filter((value) => value !== null);
  const list = `${column} IN (${params.map(() => '?').join(', ')})`;
  return { sql: all.includes(null) ? `(${list} OR ${column} IS NULL)` : list, params };
}

/**
 * What an event is follows from `action` and `resource_type`: all pairs of words that the table has are asked for. Where a word
 * means it only beside some resource types, the column with fewer rows is gone by, and each row looked at.
 */
function kindTerm(
  db: Database,
  table: QueryTable,
  classify: Classifier,
  wanted: (type: EventType, raw: string) => boolean,
): Term {
  const unknown: Term = { branches: null, condition: null, exact: false };
  const actions = distinctValues(db, table, 'action', MOST_NAMES);
  const resources = table.absent.has('resource_type')
    ? []
    : distinctValues(db, table, 'resource_type', MOST_NAMES);
  if (actions === null || resources === null) return unknown;
  const kinds: SqlParam[] = [null, ...resources];
  if (actions.length * kinds.length > MOST_PAIRS) return unknown;
  const pairs: Pair[] = actions.flatMap((action) => {
    const raw = textOfParam(action) ?? '';
    const fitting = kinds.filter((kind) => wanted(classify(raw, textOfParam(kind)), raw));
    if (fitting.length === 0) return [];
    return [{ action, kinds: fitting.length === kinds.length ? null : fitting }];
  });
  return { branches: narrower(db, table, pairs), condition: pairsCondition(table, pairs), exact: true };
}

/** A word, and the resource types beside which it is meant; null: all. */
interface Pair {
  readonly action: SqlParam;
  readonly kinds: readonly SqlParam[] | null;
}

/** By the words, or for those that are not meant everywhere by the resource types, whichever have fewer rows. */
function narrower(db: Database, table: QueryTable, pairs: readonly Pair[]): Branch[] {
  const byAction = pairs.map(({ action, kinds }): Branch => {
    const branch = { key: 'action', value: action } as const;
    return kinds === null ? branch : { ...branch, and: listed(table, 'resource_type', kinds) };
  });
  const parts = pairs.filter(({ kinds }) => kinds !== null);
  const byKind = [...new Set(parts.flatMap(({ kinds }) => kinds ?? []))].map((kind): Branch => {
    const words = parts.filter(({ kinds }) => kinds?.includes(kind)).map(({ action }) => action);
    return { key: 'resource_type', value: kind, and: listed(table, 'action', words) };
  });
  if (byKind.length === 0 || !byKind.every((branch) => isIndexed(table, branch))) return byAction;
  const partsByAction = byAction.filter(({ and }) => and !== undefined);
  if (sampled(db, table, byKind) >= sampled(db, table, partsByAction)) return byAction;
  return [...byAction.filter(({ and }) => and === undefined), ...byKind];
}

function pairsCondition(table: QueryTable, pairs: readonly Pair[]): Condition | null {
  const groups = new Map<string, { kinds: Pair['kinds']; actions: SqlParam[] }>();
  for (const { action, kinds } of pairs) {
    const key = JSON.stringify(kinds?.map((kind) => textOfParam(kind)) ?? null);
    const group = groups.get(key) ?? { kinds, actions: [] };
    group.actions.push(action);
    groups.set(key, group);
  }
  const conditions = [...groups.values()].map(({ kinds, actions }) =>
    both([
      listed(table, 'action', actions),
      ...(kinds === null ? [] : [listed(table, 'resource_type', kinds)]),
    ]),
  );
  const params = conditions.flatMap((condition) => condition.params);
  if (params.length > MOST_IN_LIST) return null;
  if (conditions.length === 0) return { sql: '0', params: [] };
  return { sql: `(${conditions.map(({ sql }) => `(${sql})`).join(' OR ')})`, params };
}

/** Text that stands in `details` as it is written, and not only as it is shown. */
const LITERAL = /^[A-Za-z0-9_.@ -]{3,}$/;

function textCondition(table: QueryTable, q: string, { mayPrefilter }: PlanContext): Condition | null {
  const wrapped = ['text', 'value'].some((name) => name.includes(q.toLowerCase()));
  if (!mayPrefilter || wrapped || !LITERAL.test(q)) return null;
  const { details } = table.columns;
  // A letter may be written `\u0061`.
  return {
    sql: `(${details} LIKE ? ESCAPE '!' OR instr(${details}, '\\u') > 0 OR typeof(${details}) <> 'text')`,
    params: [`%${q.replace(/[_%!]/g, '!$&')}%`],
  };
}

/** Without the branches that have no row, and those that SQLite reads as one before (`42` and `'42'` in a column of numbers). */
function pruned(db: Database, table: QueryTable, found: Term): Term {
  if (found.branches === null) return found;
  const heads = new Set<string>();
  const branches = found.branches.filter((branch) => {
    const head = db.prepare(branchSql(table, branch, '', 'LIMIT 1')).pluck();
    const id = head.get(branchParams(branch));
    if (id === undefined || heads.has(`${branch.key} ${String(id)}`)) return false;
    heads.add(`${branch.key} ${String(id)}`);
    return true;
  });
  return { ...found, branches };
}

/** Ids of a branch from the newest on; its parameters are those of the branch, with those of `where` behind them. */
export function branchSql(table: QueryTable, branch: Branch, where: string, limit: string): string {
  const { id } = table.columns;
  const { key, value, and } = branch;
  const by = table.indexed.get(key) ?? table.from;
  const equals = value === null ? 'IS NULL' : '= ?';
  const besides = and === undefined ? '' : `AND ${and.sql}`;
  return `SELECT ${id} FROM ${by} WHERE ${table.columns[key]} ${equals} ${besides} ${where} ORDER BY ${id} DESC ${limit}`;
}

export function branchParams({ value, and }: Branch): SqlParam[] {
  return [...(value === null ? [] : [value]), ...(and?.params ?? [])];
}

function fewest(db: Database, table: QueryTable, terms: readonly Term[]): Term | null {
  const [first, ...others] = terms.filter(({ branches }) => branches !== null);
  if (first === undefined || others.length === 0) return first ?? null;
  let best = first;
  let least = sampled(db, table, first.branches ?? []);
  for (const other of others) {
    const rows = sampled(db, table, other.branches ?? []);
    if (rows < least) {
      best = other;
      least = rows;
    }
  }
  return best;
}

/** How many rows the branches have by their values alone, counted up to SAMPLE together. */
function sampled(db: Database, table: QueryTable, branches: readonly Branch[]): number {
  let rows = 0;
  for (const { key, value } of branches) {
    if (rows >= SAMPLE) break;
    const sql = branchSql(table, { key, value }, '', 'LIMIT ?');
    const count = db.prepare(`SELECT count(*) FROM (${sql})`).pluck();
    rows += Number(count.get(...branchParams({ key, value }), SAMPLE - rows));
  }
  return rows;
}
