import type { AuditEvent } from '../audit/event.js';
import type { EditWatchOptions } from './edit-watch.js';
import type { FirstReadObserver } from './first-read.js';
import type { LostRows } from './lost-rows.js';

export interface FeedOptions extends EditWatchOptions {
  /** Another history was found behind the path; `lost` are the deleted rows that some sink had not delivered. */
  readonly onReplaced: (timeline: number, reason: string, lost: readonly LostRows[]) => void;
  /** How often recently read rows are read again, ms. */
  readonly editsMs?: number;
  /** Called when edited rows have become rows of the daemon's own table. */
  readonly onRevised?: () => void;
  /** Called once with rows that were just written; not with the backlog of a start or of a restored database. */
  readonly onLive?: (events: readonly AuditEvent[]) => void;
  /** Whether somebody looks on who must get each of them: else the newest 1,000 of a page are enough. */
  readonly isWatched?: () => boolean;
  /** Receives rows as they are read for the first time. */
  readonly observer?: FirstReadObserver;
  /** Called when something may have changed, before this feed reads: for loops that follow the head beside it. */
  readonly onWake?: () => void;
}
