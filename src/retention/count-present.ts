import { quoteIdentifier, TableCache, type TableConfig } from '../source/table-schema.js';
import type { Manifest } from './archive/manifest.js';
import type { Read } from './database-reader.js';
import { sourceUnusable } from './error-parts.js';

interface Place {
  readonly read: Read;
  readonly table: TableConfig;
}

/** How many of these rows are in the table. @throws AuditdError `SOURCE_UNUSABLE` */
export function countPresent({ read, table }: Place, rows: ReadonlyArray<{ readonly id: number }>): number {
  const ids = JSON.stringify(rows.map(({ id }) => id));
  return read((db) => {
    const found = new TableCache(table).get(db);
    if ('state' in found) throw sourceUnusable(found);
    const sql = `SELECT count(*) FROM ${quoteIdentifier(found.name)} WHERE ${quoteIdentifier(table.columns.id)} IN (SELECT value FROM json_each(?))`;
    return Number(db.prepare(sql).pluck().get(ids));
  });
}

/** Whether the table has any row with an id from this archive. */
export function hasRowsOf({ read, table }: Place, { ids }: Pick<Manifest, 'ids'>): boolean {
  const tables = new TableCache(table);
  return read((db) => {
    const found = tables.get(db);
    if ('state' in found) throw sourceUnusable(found);
    const id = quoteIdentifier(table.columns.id);
    const sql = `SELECT 1 FROM ${quoteIdentifier(found.name)} WHERE ${id} BETWEEN ? AND ? LIMIT 1`;
    return db.prepare(sql).get(ids.first, ids.last) !== undefined;
  });
}
