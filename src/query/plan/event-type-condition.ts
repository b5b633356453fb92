import type { Database } from 'better-sqlite3';
import type { Classifier, EventType } from '../../audit/catalog.js';
import type { ColumnKey } from '../../source/table-schema.js';
import { distinctValues, type SqlParam, textOfParam } from './address-variants.js';
import {
  both,
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

const MOST_NAMES = 400;
const MOST_PAIRS = 40_000;
/** So many values are looked for in an index before the row itself is. */
const MOST_BESIDES = 4;

/**
 * The same for rows that are found by another column: their index tells most of them without a look at the row, which
 * stands anywhere in the file (10,000 rows: 4 ms instead of 12).
 */
function besides(table: QueryTable, key: ColumnKey, values: readonly SqlParam[]): Condition {
  const row = listed(table, key, values);
  const by = table.indexed.get(key);
  const texts = values.filter((value) => typeof value === 'string').slice(0, MOST_BESIDES);
  if (by === undefined || texts.length === 0) return row;
  const { from, columns } = table;
  const inIndex = by.replace(from, () => `${from} AS i`);
  const marks = texts.map(() => '?').join(', ');
  const found = `SELECT 1 FROM ${inIndex} WHERE i.${columns[key]} IN (${marks}) AND i.${columns.id} = ${from}.${columns.id}`;
  // Of two sides of an OR SQLite looks at the row first.
  return { sql: `CASE WHEN EXISTS (${found}) THEN 1 ELSE ${row.sql} END`, params: [...texts, ...row.params] };
}

/**
 * What an event is follows from `action` and `resource_type`: all pairs of words that the table has are asked for. Where a word
 * means it only beside some resource types, the column with fewer rows is gone by, and each row looked at.
 */
export function kindTerm(
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
  const words = mayBeNull(db, table) ? [null, ...actions] : actions;
  if (words.length * kinds.length > MOST_PAIRS) return unknown;
  const pairs: Pair[] = words.flatMap((action) => {
    const raw = textOfParam(action) ?? '';
    const fitting = kinds.filter((kind) => wanted(classify(raw, textOfParam(kind)), raw));
    if (fitting.length === 0) return [];
    return [{ action, kinds: fitting.length === kinds.length ? null : fitting }];
  });
  const isIndexedAll = pairs.every(({ action }) => isIndexed(table, { key: 'action', value: action }));
  const branches = isIndexedAll ? narrower(db, table, pairs) : null;
  return { branches, condition: pairsCondition(table, pairs), exact: true };
}

/** Whether rows without an action may be there: an index that leaves them out does not say. */
function mayBeNull(db: Database, table: QueryTable): boolean {
  if (!table.nullsIndexed.has('action')) return true;
  const some = branchSql(table, { key: 'action', value: null }, '', 'LIMIT 1');
  return db.prepare(some).get() !== undefined;
}

/** A word, and the resource types beside which it is meant; null: all. */
interface Pair {
  readonly action: SqlParam;
  readonly kinds: readonly SqlParam[] | null;
}

/** By the words, or for those that are not meant everywhere by the resource types, whichever have fewer rows. */
function narrower(db: Database, table: QueryTable, pairs: readonly Pair[]): IndexLookup[] {
  const byAction = pairs.map(({ action, kinds }): IndexLookup => {
    const branch = { key: 'action', value: action } as const;
    return kinds === null ? branch : { ...branch, and: besides(table, 'resource_type', kinds) };
  });
  const parts = pairs.filter(({ kinds }) => kinds !== null);
  const byKind = [...new Set(parts.flatMap(({ kinds }) => kinds ?? []))].map((kind): IndexLookup => {
    const words = parts.filter(({ kinds }) => kinds?.includes(kind)).map(({ action }) => action);
    return { key: 'resource_type', value: kind, and: besides(table, 'action', words) };
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
