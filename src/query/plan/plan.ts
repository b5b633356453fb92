import type { Database } from 'better-sqlite3';
import type { NetworkSet } from '../../audit/address.js';
import { type Classifier, resourceCategory } from '../../audit/catalog.js';
import { DETAILS_BUDGET } from '../../audit/long-details.js';
import { createResourceMatcher } from '../../audit/resource-matcher.js';
import type { ColumnKey } from '../../source/table-schema.js';
import type { Filter } from '../filter.js';
import {
  addressRanges,
  addressSpellings,
  distinctValues,
  isAmbiguous,
  textOfParam,
  variantsOf,
} from './address-variants.js';
import { eventTypeTerm } from './event-type-condition.js';
import type { TimedIdRange } from './id-ranges.js';
import {
  both,
  branchParams,
  branchSql,
  type Condition,
  type IndexLookup,
  inList,
  isIndexed,
  MOST_IN_LIST,
  sampleRows,
  type Term,
} from './index-condition.js';
import type { QueryTable } from './table-schema.js';

/** How one table is read for one filter. */
export interface QueryPlan {
  /** All matching rows are inside these; the newest first. */
  readonly ranges: readonly TimedIdRange[];
  /** Null: the rows are read one by one. */
  readonly branches: readonly IndexLookup[] | null;
  /** For a scan row by row. */
  readonly conditions: readonly Condition[];
  /** The check that rows from SQL still need: none, only their time, or the whole filter. */
  readonly undecided: 'nothing' | 'time' | 'all';
  /** The columns that the filter needs. */
  readonly columns: ReadonlySet<ColumnKey>;
}

export interface PlanContext {
  readonly classify: Classifier;
  readonly server: string;
  /** See `source.trusted_proxies`; null: a list is not an address. */
  readonly trusted: NetworkSet | null;
  /** Whether SQL may prefilter by the text of `details`. Not if `details` are shown differently from the row. */
  readonly mayPrefilter: boolean;
  /** Rows to exclude, as SQL; omitted or null: none. */
  readonly without?: string | null;
}

const MOST_ADDRESSES = 5_000;
const MOST_RESOURCES = 400;

/** Decides how the rows in some ranges of ids are read. Takes one step: a few hundred seeks at most. */
export function planQuery(
  db: Database,
  table: QueryTable,
  filter: Filter,
  context: PlanContext,
  ranges: readonly TimedIdRange[],
): QueryPlan {
  const terms = termsOf(db, table, filter, context);
  const timed = filter.from !== null || filter.to !== null;
  const columns = columnsOf(filter);
  const conditions = terms.flatMap(({ condition }) => condition ?? []);
  const nothing = terms.some(({ branches }) => branches?.length === 0);
  if (nothing || ranges.length === 0)
    return { ranges: [], branches: [], conditions, undecided: 'nothing', columns };
  const driver = termWithFewestRows(db, table, terms);
  const others = terms.filter((one) => one !== driver).flatMap(({ condition }) => condition ?? []);
  const decided = terms.every((one) => one.exact && (one === driver || one.condition !== null));
  return {
    ranges,
    branches: driver?.branches?.map((branch) => withConditions(branch, others)) ?? null,
    conditions,
    undecided: decided ? (timed ? 'time' : 'nothing') : 'all',
    columns,
  };
}

function withConditions(branch: IndexLookup, conditions: readonly Condition[]): IndexLookup {
  const all = [...(branch.and === undefined ? [] : [branch.and]), ...conditions];
  return all.length === 0 ? branch : { ...branch, and: both(all) };
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
  const { without = null } = context;
  if (without !== null)
    terms.push({ branches: null, condition: { sql: `NOT (${without})`, params: [] }, exact: true });
  if (resourceType !== null) terms.push(resourceTerm(db, table, resourceType));
  if (user !== null) terms.push(valuesTerm(db, table, ['user_id', 'user_name', 'user_email'], user));
  if (server !== null) terms.push(serverTerm(db, table, server, context.server));
  if (action !== null)
    terms.push(
      eventTypeTerm(db, table, context.classify, (type, raw) => type.action === action || raw === action),
    );
  if (outcome !== null)
    terms.push(eventTypeTerm(db, table, context.classify, (type) => type.outcome === outcome));
  if (ip !== null) {
    const found = addressSpellings(db, table, ip, MOST_ADDRESSES, context.trusted);
    const branches = found?.map((value) => ({ key: 'ip_address', value }) as const) ?? null;
    terms.push(
      branches === null
        ? {
            branches,
            condition: context.trusted === null ? rangesCondition(table, addressRanges(ip)) : null,
            exact: false,
          }
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
    sql: `(${ranges.map(() => `(${column} >= ? AND ${column} < ?)`).join(' OR ')} OR ${column} >= x'')`,
    params: ranges.flatMap(({ from, below }) => [from, below]),
  };
}

/** Rows in which one of the columns has the text. */
function valuesTerm(db: Database, table: QueryTable, keys: readonly ColumnKey[], text: string): Term {
  const branches = keys
    .filter((key) => !table.absent.has(key))
    .flatMap((key) => variantsOf(text).map((value) => ({ key, value })));
  return pruneBranches(db, table, term(table, branches, !isAmbiguous(text)));
}

/** A resource type of the catalog has many spellings; the lookup uses those that the column has. */
function resourceTerm(db: Database, table: QueryTable, wanted: string): Term {
  if (resourceCategory(wanted) !== wanted) return valuesTerm(db, table, ['resource_type'], wanted);
  if (table.absent.has('resource_type')) return term(table, [], true);
  const spellings = distinctValues(db, table, 'resource_type', MOST_RESOURCES);
  if (spellings === null) return { branches: null, condition: null, exact: false };
  const isMatch = createResourceMatcher(wanted);
  const matching = spellings.filter((value) => isMatch(textOfParam(value)));
  return term(
    table,
    matching.map((value) => ({ key: 'resource_type', value }) as const),
    true,
  );
}

/** Rows without a server belong to this one. */
function serverTerm(db: Database, table: QueryTable, server: string, own: string): Term {
  if (server !== own) return valuesTerm(db, table, ['server'], server);
  if (table.absent.has('server')) return { branches: null, condition: { sql: '1', params: [] }, exact: true };
  const all = [...variantsOf(server), null, '', Buffer.alloc(0)];
  return term(
    table,
    all.map((value) => ({ key: 'server', value }) as const),
    !isAmbiguous(server),
  );
}

function term(table: QueryTable, branches: readonly IndexLookup[] | null, exact: boolean): Term {
  if (branches === null) return { branches: null, condition: null, exact: false };
  const condition = conditionOf(table, branches);
  const indexed = branches.every((branch) => isIndexed(table, branch));
  return { branches: indexed ? branches : null, condition, exact: exact && indexed };
}

function conditionOf(table: QueryTable, branches: readonly IndexLookup[]): Condition | null {
  if (branches.length > MOST_IN_LIST) return null;
  if (branches.length === 0) return { sql: '0', params: [] };
  const parts = [...new Set(branches.map(({ key }) => key))].map((key) =>
    inList(
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

/** Text that `details` contain as written in the row if they contain it as shown. */
const LITERAL = /^[A-Za-z0-9_.@ -]{3,}$/;

function textCondition(table: QueryTable, q: string, { mayPrefilter }: PlanContext): Condition | null {
  const wrapped = ['text', 'value'].some((name) => name.includes(q.toLowerCase()));
  if (!mayPrefilter || wrapped || !LITERAL.test(q)) return null;
  const { details } = table.columns;
  // A letter may be written `\u0061`. Details that are too long are shown shortened, so they are decided later.
  return {
    sql: `(octet_length(${details}) > ${DETAILS_BUDGET} OR ${details} LIKE ? ESCAPE '!' OR instr(${details}, '\\u') > 0 OR typeof(${details}) <> 'text')`,
    params: [`%${q.replace(/[_%!]/g, '!$&')}%`],
  };
}

/** Removes branches without rows, and those that are the same to SQLite as an earlier one (`42` and `'42'` in a column of numbers). */
function pruneBranches(db: Database, table: QueryTable, found: Term): Term {
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

function termWithFewestRows(db: Database, table: QueryTable, terms: readonly Term[]): Term | null {
  const [first, ...others] = terms.filter(({ branches }) => branches !== null);
  if (first === undefined || others.length === 0) return first ?? null;
  let best = first;
  let least = sampleRows(db, table, first.branches ?? []);
  for (const other of others) {
    const rows = sampleRows(db, table, other.branches ?? []);
    if (rows < least) {
      best = other;
      least = rows;
    }
  }
  return best;
}
