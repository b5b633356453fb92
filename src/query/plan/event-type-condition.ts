import type { Database } from 'better-sqlite3';
import type { Classifier, EventType } from '../../audit/catalog.js';
import type { ColumnKey } from '../../source/table-schema.js';
import { distinctValues, type SqlParam, textOfParam } from './address-variants.js';
import {
  both,
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

const MOST_NAMES = 400;
const MOST_PAIRS = 40_000;
/** At most this many values are searched for in an index before the row itself is read. */
const MOST_INDEXED = 4;

/**
 * A condition for rows that are found by another column. The index of this column decides most of them without reading the row, which may
 * be anywhere in the file (10,000 rows: 4 ms instead of 12).
 */
function indexedCondition(table: QueryTable, key: ColumnKey, values: readonly SqlParam[]): Condition {
  const row = inList(table, key, values);
  const by = table.indexed.get(key);
  const texts = values.filter((value) => typeof value === 'string').slice(0, MOST_INDEXED);
  if (by === undefined || texts.length === 0) return row;
  const { from, columns } = table;
  const inIndex = by.replace(from, () => `${from} AS i`);
  const marks = texts.map(() => '?').join(', ');
  const found = `SELECT 1 FROM ${inIndex} WHERE i.${columns[key]} IN (${marks}) AND i.${columns.id} = ${from}.${columns.id}`;
  // Not OR: SQLite would read the row first.
  return { sql: `CASE WHEN EXISTS (${found}) THEN 1 ELSE ${row.sql} END`, params: [...texts, ...row.params] };
}

/**
 * The type of an event follows from `action` and `resource_type`, so all pairs of the table's words are classified. If an action matches only
 * with some resource types, the lookup uses the column with fewer rows and checks each row.
 */
export function eventTypeTerm(
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
  const branches = isIndexedAll ? fewestLookups(db, table, pairs) : null;
  return { branches, condition: pairsCondition(table, pairs), exact: true };
}

/** Whether there may be rows without an action. An index that omits them can't tell. */
function mayBeNull(db: Database, table: QueryTable): boolean {
  if (!table.nullsIndexed.has('action')) return true;
  const some = branchSql(table, { key: 'action', value: null }, '', 'LIMIT 1');
  return db.prepare(some).get() !== undefined;
}

/** An action, and the resource types with which it matches; null: all. */
interface Pair {
  readonly action: SqlParam;
  readonly kinds: readonly SqlParam[] | null;
}

/** Lookups by action. For actions that match only with some resource types, lookups by resource type if those have fewer rows. */
function fewestLookups(db: Database, table: QueryTable, pairs: readonly Pair[]): IndexLookup[] {
  const byAction = pairs.map(({ action, kinds }): IndexLookup => {
    const branch = { key: 'action', value: action } as const;
    return kinds === null ? branch : { ...branch, and: indexedCondition(table, 'resource_type', kinds) };
  });
  const parts = pairs.filter(({ kinds }) => kinds !== null);
  const byKind = [...new Set(parts.flatMap(({ kinds }) => kinds ?? []))].map((kind): IndexLookup => {
    const words = parts.filter(({ kinds }) => kinds?.includes(kind)).map(({ action }) => action);
    return { key: 'resource_type', value: kind, and: indexedCondition(table, 'action', words) };
  });
  if (byKind.length === 0 || !byKind.every((branch) => isIndexed(table, branch))) return byAction;
  const partsByAction = byAction.filter(({ and }) => and !== undefined);
  if (sampleRows(db, table, byKind) >= sampleRows(db, table, partsByAction)) return byAction;
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
      inList(table, 'action', actions),
      ...(kinds === null ? [] : [inList(table, 'resource_type', kinds)]),
    ]),
  );
  const params = conditions.flatMap((condition) => condition.params);
  if (params.length > MOST_IN_LIST) return null;
  if (conditions.length === 0) return { sql: '0', params: [] };
  return { sql: `(${conditions.map(({ sql }) => `(${sql})`).join(' OR ')})`, params };
}
