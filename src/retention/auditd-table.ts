import type { Database } from 'better-sqlite3';
import { noteDeleted } from '../shipping/auditd-table-gaps.js';
import { AUDITD_TABLE } from '../source/table-schema.js';
import { TableRows } from './archive/table-rows.js';
import { type LegalHolds, legalRowOf } from './legal-holds.js';
import { NOTHING, type Purged, type RowToDelete, sum } from './purge/protocol.js';
import { rowHash } from './purge/row-hash.js';

/** Rows per transaction: the shipping thread waits for it, a few ms. */
const AT_ONCE = 200;

/** Deletes rows of our own table that equal their archived copies. For the main thread, the only writer of state.db. */
export function deleteOwn(db: Database, named: readonly RowToDelete[], holds: LegalHolds): Purged {
  let purged = NOTHING;
  const remove = db.prepare('DELETE FROM audit_log WHERE id = ?');
  const some = db.transaction((batch: readonly RowToDelete[]) => {
    const rows = new TableRows(db, AUDITD_TABLE, { identify: () => ({ id: '', length: 0 }) });
    const found = new Map(rows.byIds(batch.map(([id]) => id)).map((row) => [row.id, row]));
    const gone: number[] = [];
    for (const [id, hash] of batch) {
      const row = found.get(id);
      if (row === undefined && rows.isTooLarge(id)) purged = sum(purged, { ...NOTHING, differ: 1 });
      else if (row === undefined) purged = sum(purged, { ...NOTHING, gone: 1 });
      else if (rowHash(row) !== hash) purged = sum(purged, { ...NOTHING, differ: 1 });
      else if (holds.covers(legalRowOf(row.known, row.time)))
        purged = sum(purged, { ...NOTHING, legal_hold: 1 });
      else if (remove.run(id).changes > 0) {
        purged = sum(purged, { ...NOTHING, deleted: 1 });
        gone.push(id);
      } else purged = sum(purged, { ...NOTHING, kept: 1, refused_ids: [id] });
    }
    noteDeleted(db, gone);
  });
  for (let at = 0; at < named.length; at += AT_ONCE) some(named.slice(at, at + AT_ONCE));
  return purged;
}
