import type { AuditEvent } from '../audit/event.js';
import type { HighWaterMark, PageOfRows } from '../source/source.js';
import { PAGE_ROWS } from './shared-pages.js';

/** Distinguishes rows that were just written from the backlog of a start or of a restored database. */
export class LiveRows {
  /** Rows up to here were in the table before the daemon first read it. */
  private backlog = { timeline: 0, upTo: 0 };

  /** Called with each read. @param mark before the read */
  note(mark: HighWaterMark, { maxId }: Pick<PageOfRows, 'maxId'>): void {
    const isRestored = mark.id === 0 && maxId > PAGE_ROWS; // a backup restored into an empty table
    if (this.backlog.timeline !== mark.timeline || isRestored)
      this.backlog = { timeline: mark.timeline, upTo: backlogOf(mark, maxId) };
  }

  /** The new and live rows of a read. @param mark before the read */
  of(mark: HighWaterMark, events: readonly AuditEvent[]): readonly AuditEvent[] {
    const behind = Math.max(mark.id, this.backlog.upTo);
    return (events.at(-1)?.sequence ?? 0) <= behind ? [] : events.filter(({ sequence }) => sequence > behind);
  }
}

/** The last row that is not live at a first read. Rows of a short absence (a reload) are live. */
function backlogOf(mark: HighWaterMark, maxId: number): number {
  return mark.id === 0 || maxId - mark.id > PAGE_ROWS ? maxId : mark.id;
}
