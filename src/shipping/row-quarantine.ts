import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { Config, SinkConfig } from '../config/schema.js';
import { type FormatInUse, formatOnce } from '../formats/try-formats.js';
import type { NewEntry } from '../recorder/recorder.js';
import { RowNotes } from '../source/crash-notes.js';
import { QUARANTINED_PLACES, withQuarantined } from '../source/quarantine.js';
import type { State } from './state.js';

const QUARANTINED = 'quarantined_rows';

/**
 * The notes beside state.db, which remembers what is quarantined.
 *
 * @param config the one in use
 */
export function openRowNotes(state: State, config: () => Pick<Config, 'sinks'>): RowNotes {
  const known = new WeakMap<object, ReadonlySet<FormatInUse>>();
  const formats = () => {
    const { sinks } = config();
    const found = known.get(sinks) ?? formatsOf(sinks);
    known.set(sinks, found);
    return found;
  };
  const notes = new RowNotes({
    directory: dirname(state.path),
    load: () => state.note(QUARANTINED),
    save: (ids) => state.setNote(QUARANTINED, ids),
    rehearse: (event) => formatOnce(event, formats()),
  });
  if (notes.found !== null)
    state.setNote(QUARANTINED_PLACES, withQuarantined(state.note(QUARANTINED_PLACES), notes.found));
  return notes;
}

/** Reports the row that this start has quarantined, if any. */
export function reportQuarantined({ found }: RowNotes, record: (entry: NewEntry) => void, log: Logger): void {
  if (found === null) return;
  const { source, row, id, deaths } = found;
  record({ action: 'daemon.row_quarantined', details: { source, row, id, deaths } });
  log.error(
    { source, row, deaths },
    `the process crashed ${deaths} times at row ${row} of ${source}: the row ships without its details from now on. ` +
      'The table still has them. Report the row to the makers of postern-auditd',
  );
}

/** What the sinks write rows as: a row costs no format that nobody uses. */
function formatsOf(sinks: Config['sinks']): ReadonlySet<FormatInUse> {
  return new Set(Object.values(sinks).flatMap((sink) => formatsIn(sink)));
}

function formatsIn(sink: SinkConfig): FormatInUse[] {
  switch (sink.type) {
    case 'file':
      return ['ecs'];
    case 'syslog':
      return [sink.format];
    case 'http':
      if (sink.protocol !== 'otlp') return ['ecs'];
      return [sink.encoding === 'json' ? 'otlp-json' : 'otlp-protobuf'];
    case 'webhook':
      return ['text'];
    case 'jetstream':
      return ['fleet'];
    case 'fail2ban':
      return []; // its line has no text of the row
  }
}
