import type { AuditEvent } from '../audit/event.js';
import type { AuditSource, HighWaterMark, PageOfRows } from '../source/source.js';
import type { FirstReadObserver } from './first-read.js';
import { PAGE_ROWS } from './shared-pages.js';

export interface LiveRowsOptions {
  readonly source: Pick<AuditSource, 'name'>;
  readonly observer?: FirstReadObserver;
  /** See `FeedOptions`. */
  readonly onLive?: (events: readonly AuditEvent[]) => void;
}

/** Distinguishes rows that were just written from the backlog of a start or of a restored database. */
export class LiveRows {
  /** Rows up to here were in the table before the daemon first read it. */
  private backlog = { timeline: 0, upTo: 0 };

  constructor(private readonly options: LiveRowsOptions) {}

  /** Called with each read. @param mark before the read */
  note(mark: HighWaterMark, { maxId }: Pick<PageOfRows, 'maxId'>): void {
    const isRestored = mark.id === 0 && maxId > PAGE_ROWS; // a backup restored into an empty table
    if (this.backlog.timeline !== mark.timeline || isRestored)
      this.backlog = { timeline: mark.timeline, upTo: backlogOf(mark, maxId) };
  }

  /**
   * Called once the new rows of a read are recorded.
   *
   * @param mark before the read
   * @param upTo the highest new row
   * @param newest rows of the read, among them the newest 1,000; in a backlog perhaps none
   */
  report({ timeline, id: after }: HighWaterMark, upTo: number, newest: readonly AuditEvent[]): void {
    const { source, observer, onLive } = this.options;
    const liveAfter = Math.max(after, this.backlog.upTo);
    observer?.recorded({ source: source.name, timeline, after, upTo, liveAfter });
    if (onLive === undefined || (newest.at(-1)?.sequence ?? 0) <= liveAfter) return;
    onLive(newest.filter(({ sequence }) => sequence > liveAfter));
  }
}

/** The last row that is not live at a first read. Rows of a short absence (a reload) are live. */
function backlogOf(mark: HighWaterMark, maxId: number): number {
  return mark.id === 0 || maxId - mark.id > PAGE_ROWS ? maxId : mark.id;
}
