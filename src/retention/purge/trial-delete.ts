import type { Database } from 'better-sqlite3';
import { AuditdError, messageOf } from '../../errors.js';
import { type AuditTable, quoteIdentifier } from '../../source/table-schema.js';
import { deleteTriggers } from '../deletable.js';

/** Rows of which at least one must be deletable. */
const TRIED = 20;

/**
 * Deletes the oldest rows one by one until one is gone, in a transaction that the caller rolls back.
 *
 * @throws AuditdError `SOURCE_UNUSABLE` if triggers prevent all deletions
 */
export function tryDelete(db: Database, table: AuditTable, idColumn: string): void {
  const id = quoteIdentifier(idColumn);
  const name = quoteIdentifier(table.name);
  const oldest = db.prepare(`SELECT ${id} FROM ${name} ORDER BY ${id} LIMIT ${TRIED}`).pluck().all();
  const remove = db.prepare(`DELETE FROM ${name} WHERE ${id} = ?`);
  const isThere = db.prepare(`SELECT 1 FROM ${name} WHERE ${id} = ?`);
  let trouble: unknown = null;
  for (const one of oldest) {
    try {
      if (remove.run(one).changes > 0 && isThere.get(one) === undefined) return;
    } catch (error) {
      trouble ??= error; // by a trigger, which may concern only this row
      if (!db.inTransaction) break;
    }
  }
  if (oldest.length === 0) return;
  const triggers = deleteTriggers(db, table);
  const why =
    trouble === null
      ? 'SQLite deletes none of its rows'
      : `SQLite deletes none of its rows (${messageOf(trouble)})`;
  const its = triggers.length === 1 ? 'its trigger' : 'its triggers';
  throw new AuditdError(
    'SOURCE_UNUSABLE',
    `No rows can be removed from the table ${table.name}, so nothing is archived: ${why}`,
    { next: triggers.length === 0 ? null : `Change or drop ${its} ${triggers.join(', ')}` },
  );
}
