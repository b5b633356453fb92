import { TableCache, type TableConfig } from '../source/table-schema.js';
import type { ArchivedRow } from './archive/row-codec.js';
import { type RowIdentity, TableRows } from './archive/table-rows.js';
import type { Read } from './database-reader.js';

/** Rows per transaction: with a rollback journal Postern can't commit in the meantime. */
const READ_AT_ONCE = 100;

export interface SliceOptions {
  readonly read: Read;
  readonly table: TableConfig;
  readonly rows: RowIdentity;
  readonly largest?: number;
}

/** Some of the requested rows: the first `taken` ids were looked up. */
export interface Slice {
  readonly rows: readonly ArchivedRow[];
  readonly taken: number;
}

/** Reads rows by id until they have `most` octets in total; without `most`, all of them. */
export function slicesOf({ read, table, rows: identity, largest }: SliceOptions) {
  const tables = new TableCache(table);
  return (ids: readonly number[], most = Number.POSITIVE_INFINITY): Slice => {
    const rows: ArchivedRow[] = [];
    let [taken, bytes] = [0, 0];
    while (taken < ids.length && bytes < most) {
      const some = ids.slice(taken, taken + READ_AT_ONCE);
      const left = most - bytes;
      const found = read((db) => new TableRows(db, table, identity, tables, largest).someOf(some, left));
      for (const row of found.rows) rows.push(row);
      taken += found.taken;
      bytes += found.bytes;
    }
    return { rows, taken };
  };
}
