import type Database from 'better-sqlite3';
import type { Logger } from 'pino';
import { messageOf } from '../errors.js';
import { createRecorder } from '../recorder/recorder.js';
import { markReported, unreportedGaps } from './auditd-table-gaps.js';
import { countOf, NAMED, rangesText } from './id-ranges.js';

/** Reports at a start that events of our own were deleted from state.db: once, as an event and in the log. */
export function reportMissingEvents(db: Database.Database, clock: () => number, log: Logger): void {
  try {
    db.transaction(() => {
      const ranges = unreportedGaps(db);
      if (ranges.length === 0) return;
      const missing = countOf(ranges);
      log.error({ missing }, `${missing} of the daemon's own events are missing: ids ${rangesText(ranges)}`);
      const details = { missing, ids: rangesText(ranges), ranges: ranges.slice(0, NAMED) };
      createRecorder(db, { clock }).record({ action: 'daemon.own_events_missing', details });
      markReported(db, ranges);
    })();
  } catch (error) {
    log.error({ err: error }, `the daemon's own events could not be counted: ${messageOf(error)}`);
  }
}
