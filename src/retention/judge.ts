import type { Database } from 'better-sqlite3';
import type { Classifier } from '../audit/catalog.js';
import { type AuditTable, quoteIdentifier, type TableConfig } from '../source/columns.js';
import { CreatedReader } from '../source/created.js';
import type { SqlValue } from '../source/encoding.js';
import { type ArchivedRow, type ArchivedValue, TextBytes } from './archive/row.js';
import type { Judged } from './policy.js';

/** Rows from the newest on among which one with a readable time is looked for. */
const NEWEST = 50;

/** What decides over a row, from the table's columns or from all of the row. */
export class RowJudge {
  private readonly created = new CreatedReader();

  constructor(
    private readonly config: TableConfig,
    private readonly classify: Classifier,
  ) {}

  /** From the columns `created_at`, `action` and `resource_type` as SQLite gives them, with or without safe integers. */
  judged(created: SqlValue, action: SqlValue, resourceType: SqlValue): Judged {
    const time = this.created.read(Buffer.isBuffer(created) ? created.toString() : created);
    return { time, category: this.category(wordOf(action) ?? '', wordOf(resourceType)) };
  }

  ofRow({ time, columns }: ArchivedRow): Judged {
    const { action, resource_type: resourceType } = this.config.columns;
    const word = (name: string) => wordOf(columnOf(columns, name));
    return { time, category: this.category(word(action) ?? '', word(resourceType)) };
  }

  /** The highest id, 0 in an empty table, and the time of the newest row that has a readable one. */
  newest(db: Database, table: AuditTable): { readonly id: number; readonly time: number | null } {
    const [id, created] = [this.config.columns.id, this.config.columns.created_at].map(quoteIdentifier);
    const rows = db
      .prepare(
        `SELECT ${id}, ${created} FROM ${quoteIdentifier(table.name)} ORDER BY ${id} DESC LIMIT ${NEWEST}`,
      )
      .raw()
      .all() as Array<[number, SqlValue]>;
    for (const [, value] of rows) {
      const { time } = this.judged(value, null, null);
      if (time !== null) return { id: rows[0]?.[0] ?? 0, time };
    }
    return { id: rows[0]?.[0] ?? 0, time: null };
  }

  private category(action: string, resourceType: string | null): string {
    try {
      return this.classify(action, resourceType).category;
    } catch {
      return 'unknown';
    }
  }
}

function columnOf(columns: ArchivedRow['columns'], name: string): ArchivedValue {
  if (Object.hasOwn(columns, name)) return columns[name] ?? null;
  const found = Object.keys(columns).find((other) => other.toLowerCase() === name.toLowerCase());
  return found === undefined ? null : (columns[found] ?? null);
}

function wordOf(value: ArchivedValue | SqlValue): string | null {
  if (value === null || typeof value === 'string') return value;
  if (value instanceof TextBytes) return Buffer.from(value.bytes).toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
}
