import { AuditdError } from '../errors.js';
import { quoteIdentifier, TableCache, type TableConfig } from '../source/columns.js';
import type { Read } from './reading.js';

/** How many of these rows are in the table. @throws AuditdError `SOURCE_UNUSABLE` */
export function presentOf(
  { read, table }: { readonly read: Read; readonly table: TableConfig },
  rows: ReadonlyArray<{ readonly id: number }>,
): number {
  const ids = JSON.stringify(rows.map(({ id }) => id));
  return read((db) => {
    const found = new TableCache(table).get(db);
    if ('state' in found) throw new AuditdError('SOURCE_UNUSABLE', found.message);
    const sql = `SELECT count(*) FROM ${quoteIdentifier(found.name)} WHERE ${quoteIdentifier(table.columns.id)} IN (SELECT value FROM json_each(?))`;
    return Number(db.prepare(sql).pluck().get(ids));
  });
}
