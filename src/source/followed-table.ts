import type { Logger } from 'pino';
import type { History } from './source.js';
import {
  type AuditTable,
  COLUMN_KEYS,
  TableCache,
  type TableConfig,
  type TableProblem,
} from './table-schema.js';

/** A table that is followed, with the columns that were read, and warnings about missing ones. */
export class FollowedTable {
  private readonly tables: TableCache;
  /** The table whose columns are known to be remembered. */
  private noted: AuditTable | null = null;

  constructor(
    private readonly config: TableConfig,
    private readonly history: History,
    private readonly log: Logger,
  ) {
    const read = () => history.columnsRead?.() ?? {};
    this.tables = new TableCache(config, (table) => this.warnMissingColumns(table), [], read);
  }

  get: TableCache['get'] = (db) => this.tables.get(db);

  forget(): void {
    this.tables.forget();
  }

  /** Called after rows were read with these columns: they are required from now on. */
  wasRead(table: AuditTable): void {
    if (this.noted === table) return;
    const present = COLUMN_KEYS.filter((key) => !table.absent.includes(key));
    const read = Object.fromEntries(present.map((key) => [key, this.config.columns[key] ?? key]));
    try {
      if (JSON.stringify(this.history.columnsRead?.()) !== JSON.stringify(read))
        this.history.recordColumns?.(read);
      this.noted = table;
    } catch {
      // A full disk, which the sinks report; the next read tries again.
    }
  }

  private warnMissingColumns(table: AuditTable | TableProblem): void {
    if ('state' in table) return;
    const { config, log } = this;
    for (const key of table.absent) {
      const name = config.columns[key];
      if (name === null || name === key) continue; // the default name of an optional column
      log.warn(
        { table: table.name },
        `table ${table.name} has no column ${name}, which source.columns.${key} names; events are shipped without it`,
      );
    }
  }
}
