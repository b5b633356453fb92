import type { AuditEvent, ColumnValue, SourceName } from '../audit/event.js';
import { explained, messageOf } from '../errors.js';
import type { ColumnsRead } from './columns-seen.js';

/** The highest row of a timeline ever read and recorded. `id` 0: none yet. */
export interface HighWaterMark {
  readonly timeline: number;
  readonly id: number;
  /** First 16 hex digits of the row's `event.id`; null if the row is not known (state rebuilt): any row is accepted. */
  readonly fingerprint: string | null;
}

/** One of the rows read last, as it was when it was read, or when its last edit was seen. */
export interface RecentRow {
  readonly id: number;
  /** `created_at` as the table has it. */
  readonly createdAt: ColumnValue;
  readonly fingerprint: string;
}

/** The records of earlier rows; used when the row at the mark is gone or differs. */
export interface History {
  /** The fingerprint recorded for a row id in a timeline, or null if there is none. */
  fingerprintOf(timeline: number, id: number): string | null;
  /** The names under which columns were read. Omitted: a missing column is read as NULL. */
  columnsRead?(): ColumnsRead;
  /** Saves them. May throw on a full disk. */
  recordColumns?(read: ColumnsRead): void;
  /** The rows of a timeline read last, ids ascending. Omitted: a different row at the mark always means another history. */
  recent?(timeline: number): readonly RecentRow[];
}

/** States in which nothing can be read. The feed retries in all of them. */
export type WaitingState =
  | 'missing' // the database does not exist yet
  | 'stopped' // Postern is stopped, its last rows have been read from a copy
  | 'locked'
  | 'exclusive' // locked by its writer for good (`locking_mode=EXCLUSIVE`)
  | 'mounted_alone' // the file alone, without the -wal and -shm beside it
  | 'unreadable' // no permission
  | 'not_a_database'
  | 'no_table'
  | 'no_column'
  | 'recovering' // a hot journal, or a read in the middle of a recovery
  | 'failed';

/** The rows of one read, and what it saw of the table. */
export interface PageOfRows {
  readonly state: 'reading';
  /** `stopped`: the rows come from the copy of a stopped Postern's files. */
  readonly postern: 'running' | 'stopped';
  /** Empty if a consumer received them. */
  readonly events: readonly AuditEvent[];
  /** The `event.id` of the last row read, even if a consumer received it; null if none was read. */
  readonly lastEventId: string | null;
  /** Highest id read, or `after` if none. */
  readonly upTo: number;
  /** The limits left rows unread. */
  readonly more: boolean;
  /** Highest id in the table, 0 if empty. */
  readonly maxId: number;
  /** True if the row at the mark is gone although higher ids were used: it was deleted by hand. */
  readonly markDeleted: boolean;
  /** True if the row at the mark was edited, and perhaps others with it. */
  readonly markEdited?: boolean;
}

/** The path leads to another database history. */
export interface Replaced {
  readonly state: 'replaced';
  readonly reason: string;
}

/** Why nothing can be read now. */
export interface Waiting {
  readonly state: WaitingState;
  /** What was found, and in which file; a sentence without its full stop, for people. */
  readonly what: string;
  /** What to do next, a sentence without its full stop; null if no action is needed. */
  readonly next: string | null;
  /** Both as one text. */
  readonly message: string;
  /** Of the system's or SQLite's error. */
  readonly code: string | null;
}

export function waiting(
  state: WaitingState,
  what: string,
  { next = null, code = null }: { readonly next?: string | null; readonly code?: string | null } = {},
): Waiting {
  return { state, what, next, message: explained(what, next), code };
}

/** The result of one read (open, read, close). */
export type ReadResult = PageOfRows | Replaced | Waiting;

/**
 * Receives rows while they are young: some dozens at a time, during the read's transaction. Rows that it does not keep are dropped, so
 * rows converted to bytes here never grow old in V8's heap.
 */
export interface RowConsumer {
  /** Called when a read begins. Rows received before are invalid, because a changing file is read again. */
  begin(): void;
  /** Ids ascending. Must not throw. */
  take(events: readonly AuditEvent[]): void;
}

export interface ReadRequest {
  readonly mark: HighWaterMark;
  /** Rows with an id above this one. ≤ `mark.id` for a sink that lags, never above it. */
  readonly after: number;
  readonly maxRows: number;
  /** Rough bound on the text read, bytes; at least one row is read. */
  readonly maxBytes: number;
  /**
   * Reads the highest rows with an id below this one and above `after`, instead of the lowest above `after`. `events` ascend all the same,
   * and `more` means that rows may be left between `after` and the first of them.
   */
  readonly before?: number;
  /** Gets the rows in place of the result. */
  readonly consumer?: RowConsumer;
  /** Set by readers that follow the head: what the source caches for them is not valid for readers of all rows, and vice versa. */
  readonly head?: true;
}

/** Rows to be read again. */
export interface EditsRequest {
  readonly mark: HighWaterMark;
  /** Ids ascending, none above the mark. */
  readonly rows: readonly RecentRow[];
  /** Rough bound on the text read, bytes; at least one row is read. */
  readonly maxBytes: number;
}

/** The rows among them that changed. */
export interface ChangedRows {
  readonly state: 'reading';
  /** Their current values, without deleted rows. */
  readonly changed: readonly AuditEvent[];
  /** Rows up to this id were compared. */
  readonly upTo: number;
}

export type Edits = ChangedRows | Replaced | Waiting;

/** An earlier version of a row: id and columns in the order of a read, with secrets in `details` masked. */
export interface KeptRow {
  readonly eventId: string;
  readonly timeline: number;
  readonly ingested: number;
  readonly row: readonly ColumnValue[];
}

/** A table that is read by id. A read is synchronous and leaves nothing open. */
export interface AuditSource {
  readonly name: SourceName;
  read(request: ReadRequest): ReadResult;
  /** Reads rows again, in one read that checks the history too. Omitted: rows of this table do not change. */
  edits?(request: EditsRequest): Edits;
  /** The event of an earlier version of a row. */
  remade?(kept: KeptRow): AuditEvent;
  /** One row by its id, for `explain`; null if it does not exist. */
  row(id: number, timeline: number): AuditEvent | null;
  /** Calls back when there may be new rows: after each change, several times with growing delays, and at each poll. Call `close` to end it. */
  watch(onWake: () => void): { close(): void };
}

/** Reads a source. It maps every error it knows; anything else is a defect, and becomes a waiting state like any other. */
export function tryToRead(source: AuditSource, request: ReadRequest): ReadResult {
  try {
    return source.read(request);
  } catch (error) {
    return waiting('failed', `reading failed: ${messageOf(error)}; trying again`);
  }
}
