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
import { kindTerm } from './event-type-condition.js';
import type { TimedIdRange } from './id-ranges.js';
import {
  both,
  branchParams,
  branchSql,
  type Condition,
  type IndexLookup,
  isIndexed,
  listed,
  MOST_IN_LIST,
  sampled,
  type Term,
} from './index-condition.js';
import type { QueryTable } from './table-schema.js';

/** How one table is read for one filter. */
export interface QueryPlan {
  /** Outside of these nothing is meant; the newest first. */
  readonly ranges: readonly TimedIdRange[];
  /** Null: row by row. */
  readonly branches: readonly IndexLookup[] | null;
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
  /** See `source.trusted_proxies`; null: a list is no address. */
  readonly trusted: NetworkSet | null;
  /** Whether the text of `details` is searched in what SQLite has, too: not where it is shown otherwise. */
  readonly mayPrefilter: boolean;
  /** Rows that are left out, as SQL; left out: none. */
  readonly without?: string | null;
}

const MOST_ADDRESSES = 5_000;
const MOST_RESOURCES = 400;

/** Decides how the rows of some ranges of ids are read. One step: a few hundred seeks at most. */
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
  const driver = fewest(db, table, terms);
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
  if (user !== null) terms.push(values(db, table, ['user_id', 'user_name', 'user_email'], user));
  if (server !== null) terms.push(serverTerm(db, table, server, context.server));
  if (action !== null)
    terms.push(
      kindTerm(db, table, context.classify, (type, raw) => type.action === action || raw === action),
    );
  if (outcome !== null) terms.push(kindTerm(db, table, context.classify, (type) => type.outcome === outcome));
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

/** Columns of which one has the text. */
function values(db: Database, table: QueryTable, keys: readonly ColumnKey[], text: string): Term {
  const branches = keys
    .filter((key) => !table.absent.has(key))
    .flatMap((key) => variantsOf(text).map((value) => ({ key, value })));
  return pruned(db, table, term(table, branches, !isAmbiguous(text)));
}

/** By the catalog's name of it a resource type has many spellings: those that the column has are asked for. */
function resourceTerm(db: Database, table: QueryTable, wanted: string): Term {
  if (resourceCategory(wanted) !== wanted) return values(db, table, ['resource_type'], wanted);
  if (table.absent.has('resource_type')) return term(table, [], true);
  const spellings = distinctValues(db, table, 'resource_type', MOST_RESOURCES);
  if (spellings === null) return { branches: null, condition: null, exact: false };
  const isMeant = createResourceMatcher(wanted);
  const meant = spellings.filter((value) => isMeant(textOfParam(value)));
  return term(
    table,
    meant.map((value) => ({ key: 'resource_type', value }) as const),
    true,
  );
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

/** Text that stands in `details` as it is written, and not only as it is shown. */
const LITERAL = /^[A-Za-z0-9_.@ -]{3,}$/;

function textCondition(table: QueryTable, q: string, { mayPrefilter }: PlanContext): Condition | null {
  const wrapped = ['text', 'value'].some((name) => name.includes(q.toLowerCase()));
  if (!mayPrefilter || wrapped || !LITERAL.test(q)) return null;
  const { details } = table.columns;
  // A letter may be written `\u0061`; what is too long is not shown as it is written, and not read for this.
  return {
    sql: `(octet_length(${details}) > ${DETAILS_BUDGET} OR ${details} LIKE ? ESCAPE '!' OR instr(${details}, '\\u') > 0 OR typeof(${details}) <> 'text')`,
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
