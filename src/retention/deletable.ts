import type { Database } from 'better-sqlite3';
import { AuditdError } from '../errors.js';
import { type AuditTable, lower } from '../source/table-schema.js';

/**
 * Checks that deleting rows from a table changes nothing else.
 *
 * @throws AuditdError `SOURCE_UNUSABLE` for a view, and for a table that foreign keys reference: its deletions would delete rows of
 * other tables that are not archived, or leave dangling references
 */
export function checkDeletable(db: Database, table: AuditTable): void {
  if (table.isView) {
    const next = 'Set source.table to the table behind it, or retention.enabled to false';
    throw new AuditdError('SOURCE_UNUSABLE', `${table.name} is a view: rows can't be removed from it`, {
      next,
    });
  }
  const [referring] = referringTables(db, table);
  if (referring === undefined) return;
  throw new AuditdError(
    'SOURCE_UNUSABLE',
    `Foreign keys of the table ${referring} point at ${table.name}: rows of ${referring} would go with those of ${table.name}, and no archive has them, or they would point at nothing`,
    { next: `Take the foreign key out of ${referring}, or set retention.enabled to false` },
  );
}

/** Names of the triggers that run when a row of the table is deleted. */
export function deleteTriggers(db: Database, table: AuditTable): string[] {
  const triggers = db
    .prepare("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
    .all() as Array<{ name: string; tbl_name: string; sql: string | null }>;
  return triggers
    .filter(({ tbl_name: on, sql }) => lower(on) === lower(table.name) && /\bdelete\b/i.test(sql ?? ''))
    .map(({ name }) => name);
}

function referringTables(db: Database, table: AuditTable): string[] {
  const keys = db
    .prepare(
      `SELECT schema.name AS name, key."table" AS target FROM sqlite_schema AS schema, pragma_foreign_key_list(schema.name) AS key
       WHERE schema.type = 'table'`,
    )
    .all() as Array<{ name: string; target: string }>;
  return [
    ...new Set(keys.filter(({ target }) => lower(target) === lower(table.name)).map(({ name }) => name)),
  ];
}
