import type { Database } from 'better-sqlite3';
import type { Classifier, EventType } from '../audit/catalog.js';
import type { ColumnKey } from '../source/columns.js';
import { type Bounds, timeBounds } from './bounds.js';
import type { Filter } from './filter.js';
import {
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
  /** No row needs to be looked at: the ids are what is meant. */
  readonly exact: boolean;
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
const MOST_ADDRESSES = 2_000;
/** Rows that are counted to see which part of a filter leaves the fewest. */
const SAMPLE = 2_000;
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
  const terms = termsOf(db, table, filter, context).map((term) => pruned(db, table, term));
  const bounds = timeBounds(db, table, filter, snapshot);
  const timed = filter.from !== null || filter.to !== null;
  const columns = columnsOf(filter);
  const conditions = terms.flatMap(({ condition }) => condition ?? []);
  const nothing = terms.some(({ branches }) => branches?.length === 0);
  if (nothing || bounds.highest < bounds.lowest) {
    return { bounds: { lowest: 1, highest: 0 }, branches: [], conditions, exact: true, columns };
  }
  const term = fewest(db, table, terms);
  const exact = !timed && filter.q === null && terms.length <= 1 && (term?.exact ?? terms.length === 0);
  return { bounds, branches: term?.branches ?? null, conditions, exact, columns };
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
  if (resourceType !== null) terms.push(values(table, ['resource_type'], resourceType));
  if (user !== null) terms.push(values(table, ['user_id', 'user_name', 'user_email'], user));
  if (server !== null) terms.push(serverTerm(table, server, context.server));
  if (action !== null)
    terms.push(
      kindTerm(db, table, context.classify, (type, raw) => type.action === action || raw === action),
    );
  if (outcome !== null) terms.push(kindTerm(db, table, context.classify, (type) => type.outcome === outcome));
  if (ip !== null) {
    const found = addressSpellings(db, table, ip, MOST_ADDRESSES);
    const branches = found?.map((value) => ({ key: 'ip_address', value }) as const) ?? null;
    terms.push(term(table, branches, false));
  }
  if (q !== null) terms.push({ branches: null, condition: textCondition(table, q, context), exact: false });
  return terms;
}

/** Columns of which one has the text. */
function values(table: QueryTable, keys: readonly ColumnKey[], text: string): Term {
  const branches = keys
    .filter((key) => !table.absent.has(key))
    .flatMap((key) => variantsOf(text).map((value) => ({ key, value })));
  return term(table, branches, !isAmbiguous(text));
}

/** Rows that name no server are of this one. */
function serverTerm(table: QueryTable, server: string, own: string): Term {
  if (server !== own) return values(table, ['server'], server);
  if (table.absent.has('server')) return { branches: null, condition: null, exact: true };
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
  const parts = [...new Set(branches.map(({ key }) => key))].map((key) => {
    const all = branches.filter((branch) => branch.key === key).map(({ value }) => value);
    const params = all.filter((value) => value !== null);
    const list = `${table.columns[key]} IN (${params.map(() => '?').join(', ')})`;
    return { sql: all.includes(null) ? `(${list} OR ${table.columns[key]} IS NULL)` : list, params };
  });
  return {
    sql: `(${parts.map(({ sql }) => sql).join(' OR ')})`,
    params: parts.flatMap(({ params }) => params),
  };
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
  const whole: Branch[] = [];
  const parts: Array<{ readonly action: SqlParam; readonly kinds: readonly SqlParam[] }> = [];
  for (const action of actions) {
    const raw = textOfParam(action) ?? '';
    const fitting = kinds.filter((kind) => wanted(classify(raw, textOfParam(kind)), raw));
    const present = fitting.filter((kind) => kind !== null);
    if (fitting.length === kinds.length) whole.push({ key: 'action', value: action });
    else if (present.length > 0 || fitting.length > 0) parts.push({ action, kinds: fitting });
  }
  const byAction = parts.map(({ action }) => ({ key: 'action', value: action }) as const);
  const byKind = [...new Set(parts.flatMap((part) => part.kinds))].map(
    (value) => ({ key: 'resource_type', value }) as const,
  );
  const able = byKind.length > 0 && byKind.every((branch) => isIndexed(table, branch));
  const side = able && sampled(db, table, byKind) < sampled(db, table, byAction) ? byKind : byAction;
  return term(table, [...whole, ...side], parts.length === 0);
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
    const head = db
      .prepare(branchSql(table, branch, '', 'LIMIT 1'))
      .pluck()
      .safeIntegers();
    const id = (branch.value === null ? head.get() : head.get(branch.value)) as bigint | undefined;
    if (id === undefined || heads.has(`${branch.key} ${id}`)) return false;
    heads.add(`${branch.key} ${id}`);
    return true;
  });
  return { ...found, branches };
}

/** Ids of a branch from the newest on; its parameter is the value, unless that is NULL. */
export function branchSql(table: QueryTable, { key, value }: Branch, where: string, limit: string): string {
  const { id } = table.columns;
  const by = table.indexed.get(key) ?? table.from;
  const equals = value === null ? 'IS NULL' : '= ?';
  return `SELECT ${id} FROM ${by} WHERE ${table.columns[key]} ${equals} ${where} ORDER BY ${id} DESC ${limit}`;
}

function fewest(db: Database, table: QueryTable, terms: readonly Term[]): Term | null {
  const able = terms.filter(({ branches }) => branches !== null);
  const [first, ...others] = able;
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

/** How many rows the branches have, counted up to SAMPLE each. */
function sampled(db: Database, table: QueryTable, branches: readonly Branch[]): number {
  let rows = 0;
  for (const branch of branches) {
    const count = db
      .prepare(`SELECT count(*) FROM (${branchSql(table, branch, '', `LIMIT ${SAMPLE}`)})`)
      .pluck();
    rows += Number(branch.value === null ? count.get() : count.get(branch.value));
  }
  return rows;
}
