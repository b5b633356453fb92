import Database from '../../src/load-sqlite.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { rowsOf } from '../../src/retention/unfinished-archives.js';

/** The locations of rows: in the table, in archives, or in neither. */
export interface Count {
  readonly inTable: number;
  readonly archived: number;
  /** In both: an archive whose rows are not deleted yet. */
  readonly both: number;
  /** In neither. */
  readonly missing: readonly number[];
  /** In more than one archive. */
  readonly twice: readonly number[];
  /** Rows with changed `details`. */
  readonly changed: readonly number[];
}

/** @param written `details` of each row ever written, by id */
export function countRows(database: string, archive: string, written: ReadonlyMap<number, string>): Count {
  const db = new Database(database, { readonly: true });
  const table = new Map(
    db.prepare('SELECT id, details FROM audit_log').raw().all() as Array<[number, string]>,
  );
  db.close();
  const archived = new Map<number, string>();
  const twice: number[] = [];
  for (const manifest of listArchives(archive)) {
    if (manifest.source !== 'postern') continue;
    for (const { id, columns } of [...rowsOf(archive, manifest)].flat()) {
      if (archived.has(id)) twice.push(id);
      archived.set(id, String(columns.details));
    }
  }
  const ids = [...written.keys()];
  return {
    inTable: table.size,
    archived: archived.size,
    both: ids.filter((id) => table.has(id) && archived.has(id)).length,
    missing: ids.filter((id) => !table.has(id) && !archived.has(id)),
    twice,
    changed: ids.filter((id) =>
      [table.get(id), archived.get(id)].some((d) => d !== undefined && d !== written.get(id)),
    ),
  };
}
