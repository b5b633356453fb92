import type Database from 'better-sqlite3';
import { nearest } from '../audit/did-you-mean.js';
import type { SourceConfig } from '../config/schema.js';
import { COLUMNS, quoteIdentifier } from '../recorder/audit-table.js';
import { defaultOf } from './column-default.js';
import type { ColumnsRead } from './columns-seen.js';
import { readable } from './oversized-values.js';
import { type Waiting, waiting } from './source.js';

export { quoteIdentifier };

/** The keys of `source.columns`, in the order in which a row is read and hashed. Never reorder: hashes depend on it. */
export const COLUMN_KEYS = ['id', ...COLUMNS] as const;

export type ColumnKey = (typeof COLUMN_KEYS)[number];

const REQUIRED: readonly ColumnKey[] = ['id', 'created_at', 'action'];

/** The configuration of a table; names are matched as in SQLite, ignoring ASCII case. */
export interface TableConfig {
  readonly table: string;
  /** Null: the table no longer has this column, and its values are NULL. */
  readonly columns: Readonly<SourceConfig['columns']>;
  /** The names under which columns were read before: without one of them the table can't be followed. */
  readonly read?: ColumnsRead;
  /** The zone of times without one; omitted, as for our own tables: UTC. */
  readonly time_zone?: string;
}

/** The daemon's own audit table, in state.db. */
export const AUDITD_TABLE: TableConfig = {
  table: 'audit_log',
  columns: Object.fromEntries(COLUMN_KEYS.map((key) => [key, key])) as Record<ColumnKey, string>,
};

/** Further columns of our own table with versions of edited rows. They are not hashed. */
export const REVISION_COLUMNS = ['revision_of', 'revised_action'] as const;

/** A table that can be followed: its SQL, made once per schema. */
export interface AuditTable {
  /** As the schema spells it: `sqlite_sequence` compares bytes. */
  readonly name: string;
  readonly isView: boolean;
  /** The schema has a `sqlite_sequence`. Whether it has a row of this table is asked at each read. */
  readonly hasSequence: boolean;
  /** Column keys without a column in the table; their values are read as NULL. */
  readonly absent: readonly ColumnKey[];
  /** Per column key, the constant that `ALTER TABLE … ADD COLUMN` fills old rows with; undefined if there is none. */
  readonly defaults: ReadonlyArray<unknown>;
  readonly sql: {
    /** Parameters: id, limit. Columns in the order of `COLUMN_KEYS`. */
    readonly page: string;
    /** Parameters: upper bound (exclusive), lower bound (exclusive), limit. The highest rows first. */
    readonly down: string;
    readonly row: string;
    /** The highest row at or below an id. */
    readonly below: string;
    readonly maxId: string;
    /** Parameter: id. The bytes of the columns, for text that is not UTF-8. */
    readonly bytes: string;
  };
}

/** Why a table can't be followed. */
export interface TableProblem extends Waiting {
  readonly state: 'no_table' | 'no_column';
}

function tableProblem(state: TableProblem['state'], what: string, next: string | null = null): TableProblem {
  return { ...waiting(state, what, { next }), state };
}

interface SchemaEntry {
  readonly name: string;
  readonly type: string;
  readonly sql: string | null;
}

interface ColumnInfo {
  readonly name: string;
  readonly type: string;
  readonly dflt_value: string | null;
  readonly pk: number;
}

/** Remembers the table of the schema seen last, so that a read costs one query on the schema instead of all. */
export class TableCache {
  private key = '';
  private table: AuditTable | TableProblem | null = null;

  /**
   * @param internal columns of ours that are read behind those of `COLUMN_KEYS`, where the table has them all
   * @param read used instead of `TableConfig.read` if that changes over time
   */
  constructor(
    private readonly config: TableConfig,
    private readonly onNew: (table: AuditTable | TableProblem) => void = () => undefined,
    private readonly internal: readonly string[] = [],
    private readonly read: () => ColumnsRead = () => config.read ?? {},
  ) {}

  /**
   * The table as this connection sees it. The key is the SQL that made it, not inode, birth time and `schema_version`:
   * `cp` of another database in place can leave those three as they were.
   */
  get(db: Database.Database): AuditTable | TableProblem {
    const entries = db
      .prepare(
        `SELECT name, type, sql FROM sqlite_schema
         WHERE type IN ('table', 'view') AND (name = ? COLLATE NOCASE OR name = 'sqlite_sequence')`,
      )
      .all(this.config.table) as SchemaEntry[];
    // A view depends on other tables, too, and the message for a missing table names the others.
    const isTable = entries.some(({ name, type }) => type === 'table' && name !== 'sqlite_sequence');
    const rest = isTable ? null : db.prepare('SELECT name, sql FROM sqlite_schema').all();
    const key = JSON.stringify([entries, rest]);
    if (this.table !== null && key === this.key) return this.table;
    const table = inspect(db, this.config, entries, this.internal, this.read());
    this.key = key;
    this.table = table;
    this.onNew(table);
    return table;
  }

  forget(): void {
    this.table = null;
  }
}

function inspect(
  db: Database.Database,
  config: TableConfig,
  entries: readonly SchemaEntry[],
  internal: readonly string[],
  read: ColumnsRead,
): AuditTable | TableProblem {
  const entry = entries.find(({ name }) => sameName(name, config.table));
  if (entry === undefined) return noTable(db, config.table);
  const isView = entry.type === 'view';
  const found = db
    .prepare('SELECT name, type, dflt_value, pk FROM pragma_table_xinfo(?)')
    .all(entry.name) as ColumnInfo[];
  const columns = COLUMN_KEYS.map((key) => {
    const wanted = config.columns[key];
    return wanted === null ? undefined : found.find(({ name }) => sameName(name, wanted));
  });
  const missing = REQUIRED.find((key) => columns[COLUMN_KEYS.indexOf(key)] === undefined);
  if (missing !== undefined) return noColumn(entry, config, missing, found);
  const gone = COLUMN_KEYS.find(
    (key, at) => columns[at] === undefined && config.columns[key] !== null && read[key] !== undefined,
  );
  if (gone !== undefined) return goneColumn(entry, config, gone, read[gone] ?? '', found);
  const id = columns[0];
  if (id === undefined || (!isView && !isRowId(id, found))) return notAnId(entry, config, columns, found);
  const behind = internal.map((name) => found.find((column) => column.name === name));
  return {
    name: entry.name,
    isView,
    hasSequence: !isView && entries.some(({ name }) => name === 'sqlite_sequence'),
    absent: COLUMN_KEYS.filter((_, at) => columns[at] === undefined),
    defaults: columns.map((column, at) => {
      const key = COLUMN_KEYS[at];
      return column === undefined || key === undefined || REQUIRED.includes(key)
        ? undefined
        : defaultOf(column);
    }),
    sql: statements(entry.name, columns, isView, behind.includes(undefined) ? [] : internal),
  };
}

/** SQLite makes exactly this column the row id: sole primary key, declared type INTEGER and nothing else. */
function isRowId(id: ColumnInfo, all: readonly ColumnInfo[]): boolean {
  return id.pk === 1 && id.type.toUpperCase() === 'INTEGER' && all.filter(({ pk }) => pk > 0).length === 1;
}

function statements(
  table: string,
  columns: ReadonlyArray<ColumnInfo | undefined>,
  isView: boolean,
  internal: readonly string[],
): AuditTable['sql'] {
  const from = `FROM ${quoteIdentifier(table)}`;
  const names = columns.map((column) => (column === undefined ? 'NULL' : quoteIdentifier(column.name)));
  const id = names[0] ?? '';
  // A view may return any value as an id, and text compares as greater than any number.
  const integers = isView ? `AND typeof(${id}) = 'integer'` : '';
  // JavaScript can't distinguish ids above 2^53 - 1; the reader reports one if it finds it.
  const inRange = `${id} <= ${Number.MAX_SAFE_INTEGER} ${integers}`;
  const read = names.map((name) => (name === id || name === 'NULL' ? name : readable(name)));
  const all = [...read, ...internal.map(quoteIdentifier)].join(', ');
  return {
    page: `SELECT ${all} ${from} WHERE ${id} > ? AND ${inRange} ORDER BY ${id} LIMIT ?`,
    down: `SELECT ${all} ${from} WHERE ${id} < ? AND ${id} > ? AND ${inRange} ORDER BY ${id} DESC LIMIT ?`,
    row: `SELECT ${all} ${from} WHERE ${id} = ? ${integers}`,
    below: `SELECT ${all} ${from} WHERE ${id} <= ? AND ${id} > 0 ${integers} ORDER BY ${id} DESC LIMIT 1`,
    maxId: `SELECT max(${id}) ${from} WHERE ${id} > 0 ${integers}`,
    bytes: `SELECT ${names.map((name) => `CAST(${name === id ? name : readable(name)} AS BLOB)`).join(', ')} ${from} WHERE ${id} = ? ${integers}`,
  };
}

function noTable(db: Database.Database, table: string): TableProblem {
  const names = db
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .pluck()
    .all() as string[];
  if (names.length === 0) {
    return tableProblem(
      'no_table',
      `the database has no tables yet; waiting for Postern to create table ${table}`,
    );
  }
  const near = nearest(table, names);
  const found = near === null ? `its tables are ${list(names)}` : `the nearest name is ${near}`;
  return tableProblem(
    'no_table',
    `the database has no table ${table}; ${found}`,
    "Set source.table if Postern's audit log has another name",
  );
}

function noColumn(
  entry: SchemaEntry,
  config: TableConfig,
  missing: ColumnKey,
  found: readonly ColumnInfo[],
): TableProblem {
  const names = found.map(({ name }) => name);
  return tableProblem(
    'no_column',
    `${entry.type} ${entry.name} has no column ${config.columns[missing]}; its columns are ${list(names)}`,
    `Name the right one under source.columns.${missing}`,
  );
}

function goneColumn(
  entry: SchemaEntry,
  config: TableConfig,
  gone: ColumnKey,
  was: string,
  found: readonly ColumnInfo[],
): TableProblem {
  const names = found.map(({ name }) => name);
  const near = nearest(was, names);
  const proposal = near === null ? '' : `; the nearest name is ${near}`;
  return tableProblem(
    'no_column',
    `${entry.type} ${entry.name} has no column ${config.columns[gone]}, and rows were read with ${was} (source.columns.${gone}): ` +
      `without it each row would count as another one. Its columns are ${list(names)}${proposal}`,
    `If it was renamed, name the new one under source.columns.${gone}; if it was removed for good, set source.columns.${gone}: null`,
  );
}

/** For ids of text, UUIDs and numbers other than the row id: following rows needs a growing number. */
function notAnId(
  entry: SchemaEntry,
  config: TableConfig,
  columns: ReadonlyArray<ColumnInfo | undefined>,
  found: readonly ColumnInfo[],
): TableProblem {
  const type = columns[0]?.type ?? '';
  const what = `column ${config.columns.id} of table ${entry.name}${type === '' ? '' : ` (${type})`} is not its INTEGER PRIMARY KEY, so it does not identify new rows`;
  const other = found.find((column) => isRowId(column, found));
  const next =
    other !== undefined
      ? `Set source.columns.id: ${other.name}, which is`
      : /\bWITHOUT\s+ROWID\b/i.test(entry.sql ?? '')
        ? 'The table is WITHOUT ROWID and has no other number: Postern has to give it an INTEGER PRIMARY KEY'
        : byRowId(entry, config, columns);
  return tableProblem('no_column', what, next);
}

/** SQLite numbers the rows of such a table by itself; a view shows the number. */
function byRowId(
  entry: SchemaEntry,
  { columns: names }: TableConfig,
  columns: ReadonlyArray<ColumnInfo | undefined>,
): string {
  const view = `${entry.name}_by_row`;
  const rest = columns.flatMap((column, at) =>
    at === 0 || column === undefined ? [] : [quoteIdentifier(column.name)],
  );
  const id = quoteIdentifier(names.id);
  const sql = `CREATE VIEW ${quoteIdentifier(view)} AS SELECT rowid AS ${id}, ${rest.join(', ')} FROM ${quoteIdentifier(entry.name)}`;
  return `SQLite numbers the rows itself: have the database's owner run ${sql}; and set source.table: ${view}. VACUUM renumbers them, and all would be shipped again`;
}

const LISTED = 30;

function list(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}

function sameName(a: string, b: string): boolean {
  return lower(a) === lower(b);
}

/** A name as SQLite compares it: it folds ASCII letters only. */
export function lower(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
