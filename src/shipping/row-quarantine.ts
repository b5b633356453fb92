import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { formatOnce } from '../formats/rehearsal.js';
import type { NewEntry } from '../recorder/recorder.js';
import { RowNotes } from '../source/row-notes.js';
import type { State } from './state.js';

const QUARANTINED = 'quarantined_rows';

/** The notes beside state.db, which remembers what is quarantined. */
export function openRowNotes(state: State): RowNotes {
  return new RowNotes({
    directory: dirname(state.path),
    load: () => state.note(QUARANTINED),
    save: (ids) => state.setNote(QUARANTINED, ids),
    rehearse: formatOnce,
  });
}

/** Says which row this start has quarantined, if any. */
export function tellQuarantined({ found }: RowNotes, record: (entry: NewEntry) => void, log: Logger): void {
  if (found === null) return;
  const { source, row, id, deaths } = found;
  record({ action: 'daemon.row_quarantined', details: { source, row, id, deaths } });
  log.error(
    { source, row, deaths },
    `the process ended ${deaths} times at row ${row} of ${source}: it ships without its details from now on. ` +
      'The table has them: look at the row, and tell the makers of postern-auditd what is in it',
  );
}
