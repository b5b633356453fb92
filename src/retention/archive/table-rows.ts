import type { Database } from 'better-sqlite3';
import { TimeZone } from '../../audit/time-zone.js';
import { CreatedReader } from '../../source/created-at.js';
import type { RawRow, SqlValue } from '../../source/event-id.js';
import type { RowReader } from '../../source/row-to-event.js';
import {
  COLUMN_KEYS,
  lower,
  quoteIdentifier,
  TableCache,
  type TableConfig,
} from '../../source/table-schema.js';
import { sourceUnusable } from '../error-parts.js';
import { type ArchivedRow, type ArchivedValue, setColumn, TextBytes } from './row-codec.js';
import { LARGEST_ROW } from './row-size-limit.js';
import type { ArchivedTable } from './write.js';

interface ColumnInfo {
  readonly name: string;
  readonly type: string;
  readonly hidden: number;
}

/** A row with the values that determine its category, which may come from columns that are not archived. */
export interface TableRow extends ArchivedRow {
  readonly action: SqlValue;
  readonly resourceType: SqlValue;
  /** The values in the order of COLUMN_KEYS; null if the table lacks the column. */
  readonly known: readonly SqlValue[];
}

const ACTION = COLUMN_KEYS.indexOf('action');
const TYPE = COLUMN_KEYS.indexOf('resource_type');
const REPLACEMENT = '\uFFFD';

/** SQL for the octets in these columns. SQLite reads them from the row's header, without loading the values. */
export function rowSizeSql(columns: readonly string[]): string {
  return columns.map((name) => `ifnull(octet_length(${quoteIdentifier(name)}), 0)`).join(' + ');
}

/** Where the `event.id` of a row comes from. */
export interface RowIdentity extends Pick<RowReader, 'identify'> {
  /** The column that contains it, as in the table of a hub; otherwise it is computed from the row. */
  readonly eventIdColumn?: string;
}

/**
 * Rows of an audit table with all their columns, as archived. For one step on one connection: leaves no statement open.
 */
export class TableRows {
  readonly shape: ArchivedTable;
  private readonly defaults: ReadonlyArray<unknown>;
  /** The index of each of COLUMN_KEYS among the columns; -1 if the table lacks it. */
  private readonly places: readonly number[];
  private readonly eventIdAt: number;
  private readonly created: CreatedReader;
  private readonly select: string;
  private readonly bytes: string;
  private readonly large: string;

  /** @throws AuditdError `SOURCE_UNUSABLE` if there is no such table */
  constructor(
    private readonly db: Database,
    config: TableConfig,
    private readonly reader: RowIdentity,
    cache: TableCache = new TableCache(config),
    largest = LARGEST_ROW,
  ) {
    this.created = new CreatedReader(config.time_zone);
    const table = cache.get(db);
    if ('state' in table) throw sourceUnusable(table);
    // Generated columns (2, 3) are not stored values; hidden columns (1) belong to virtual tables.
    const all = db
      .prepare('SELECT name, type, hidden FROM pragma_table_xinfo(?)')
      .all(table.name) as ColumnInfo[];
    const archived = all.filter(({ hidden }) => hidden === 0);
    const named = COLUMN_KEYS.map((key) => lower(config.columns[key] ?? ''));
    // A generated value may still identify or classify a row: it is read after the others, and not archived.
    const read = all.filter(({ name, hidden }) => hidden !== 0 && named.includes(lower(name)));
    const columns = [...archived, ...read];
    const nameOf = (name: string) => columns.findIndex((column) => lower(column.name) === lower(name));
    this.places = COLUMN_KEYS.map((key) =>
      table.absent.includes(key) ? -1 : nameOf(config.columns[key] ?? ''),
    );
    this.eventIdAt = reader.eventIdColumn === undefined ? -1 : nameOf(reader.eventIdColumn);
    this.defaults = table.defaults;
    const id = columns[this.places[0] ?? -1]?.name ?? config.columns.id;
    this.shape = {
      name: table.name,
      idColumn: id,
      columns: archived.map(({ name, type }) => ({ name, type })),
      timeZone: TimeZone.of(config.time_zone)?.name ?? null,
    };
    const names = columns.map(({ name }) => quoteIdentifier(name));
    const from = `FROM ${quoteIdentifier(table.name)}${table.isView ? '' : ' NOT INDEXED'}`;
    const by = quoteIdentifier(id);
    const size = rowSizeSql(columns.map(({ name }) => name));
    this.large = `SELECT ${by} ${from} WHERE ${by} = ? AND ${size} > ${largest}`;
    this.select = `SELECT ${by}, ${names.join(', ')} ${from} WHERE ${size} <= ${largest} AND ${by}`;
    this.bytes = `SELECT ${names.map((name) => `CAST(${name} AS BLOB)`).join(', ')} ${from} WHERE ${by} = ?`;
  }

  /** Rows after an id and up to another, in ascending order, limited in number. */
  after(id: number, upTo: number, limit: number): TableRow[] {
    const sql = `${this.select} > ? AND ${quoteIdentifier(this.shape.idColumn)} <= ? ORDER BY 1 LIMIT ?`;
    const rows = this.db.prepare(sql).raw().safeIntegers().all(id, upTo, limit) as RawRow[];
    return rows.map((row) => this.rowOf(row));
  }

  /** Whether a row exists and is too large to archive: the other methods omit it. */
  isTooLarge(id: number): boolean {
    return this.db.prepare(this.large).get(id) !== undefined;
  }

  /** The existing rows among these ids, in the order of the ids. */
  byIds(ids: readonly number[]): TableRow[] {
    return this.someOf(ids, Number.POSITIVE_INFINITY).rows;
  }

  /** The same, until the rows have about `most` octets. The first `taken` ids were looked up. */
  someOf(ids: readonly number[], most: number): { rows: TableRow[]; taken: number; bytes: number } {
    const statement = this.db.prepare(`${this.select} = ?`).raw().safeIntegers();
    const rows: TableRow[] = [];
    let [taken, bytes] = [0, 0];
    for (const id of ids) {
      if (bytes >= most) break;
      taken++;
      const row = statement.get(id) as RawRow | undefined;
      if (row === undefined) continue;
      rows.push(this.rowOf(row));
      for (const value of row) if (typeof value === 'string' || Buffer.isBuffer(value)) bytes += value.length;
    }
    return { rows, taken, bytes };
  }

  private rowOf([id, ...values]: RawRow): TableRow {
    const known: SqlValue[] = this.places.map((at) => (at < 0 ? null : (values[at] ?? null)));
    const given = values[this.eventIdAt];
    const made = () =>
      this.reader.identify(known, {
        defaults: this.defaults,
        bytesOf: (rowId, column) => this.bytesOf(rowId)[this.places[column] ?? -1] ?? null,
      });
    const eventId = typeof given === 'string' ? given : made().id;
    const inexact = values.some((value) => typeof value === 'string' && value.includes(REPLACEMENT));
    const bytes = inexact ? this.bytesOf(id ?? null) : [];
    const columns: Record<string, ArchivedValue> = {};
    for (const [at, { name }] of this.shape.columns.entries()) {
      setColumn(columns, name, exactly(values[at] ?? null, bytes[at] ?? null));
    }
    const created = known[1] ?? null;
    const time = this.created.read(Buffer.isBuffer(created) ? created.toString() : created);
    return {
      id: Number(id),
      eventId,
      time,
      columns,
      action: known[ACTION] ?? null,
      resourceType: known[TYPE] ?? null,
      known,
    };
  }

  private bytesOf(id: SqlValue): ReadonlyArray<Buffer | null> {
    const row = this.db.prepare(this.bytes).raw().get(id) as ReadonlyArray<Buffer | null> | undefined;
    return row ?? [];
  }
}

/** Reads text as bytes where V8 has replaced invalid UTF-8. */
function exactly(value: SqlValue, bytes: Buffer | null): ArchivedValue {
  if (typeof value !== 'string' || bytes === null || !value.includes(REPLACEMENT)) return value;
  return bytes.equals(Buffer.from(value)) ? value : new TextBytes(bytes);
}
