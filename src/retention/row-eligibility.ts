import type { Database } from 'better-sqlite3';
import type { Classifier } from '../audit/catalog.js';
import { CreatedReader } from '../source/created-at.js';
import type { SqlValue } from '../source/event-id.js';
import { readable } from '../source/oversized-values.js';
import { type AuditTable, quoteIdentifier, type TableConfig } from '../source/table-schema.js';
import type { TableRow } from './archive/table-rows.js';
import type { TimeAndCategory } from './policy.js';

/** The number of newest rows that are searched for a readable time. */
const NEWEST = 50;

/** Decides whether a row may be deleted, from the table's columns or from the whole row. */
export class RowEligibility {
  private readonly created: CreatedReader;

  constructor(
    private readonly config: TableConfig,
    private readonly classify: Classifier,
  ) {
    this.created = new CreatedReader(config.time_zone);
  }

  /** Reads `created_at`, `action` and `resource_type` as SQLite returns them, with or without safe integers. */
  readColumns(created: SqlValue, action: SqlValue, resourceType: SqlValue): TimeAndCategory {
    const time = this.created.read(Buffer.isBuffer(created) ? created.toString() : created);
    return { time, category: this.category(wordOf(action) ?? '', wordOf(resourceType)) };
  }

  readRow({ time, action, resourceType }: TableRow): TimeAndCategory {
    return { time, category: this.category(wordOf(action) ?? '', wordOf(resourceType)) };
  }

  /** The highest id, 0 in an empty table, and the time of the newest row with a readable time. */
  newestRow(db: Database, table: AuditTable): { readonly id: number; readonly time: number | null } {
    const id = quoteIdentifier(this.config.columns.id);
    const created = quoteIdentifier(this.config.columns.created_at);
    const rows = db
      .prepare(
        `SELECT ${id}, ${readable(created)} FROM ${quoteIdentifier(table.name)} ORDER BY ${id} DESC LIMIT ${NEWEST}`,
      )
      .raw()
      .all() as Array<[number, SqlValue]>;
    for (const [, value] of rows) {
      const { time } = this.readColumns(value, null, null);
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

function wordOf(value: SqlValue): string | null {
  if (value === null || typeof value === 'string') return value;
  return value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
}
