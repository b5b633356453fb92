import type { AuditEvent, SourceName } from '../audit/event.js';

/** A row by what it is, whatever database it comes from. */
export interface NotedRow {
  readonly source: SourceName;
  /** Row id, for people. */
  readonly row: string;
  /** `event.id` */
  readonly id: string;
}

/** Rows that are worked on one behind the other, by their ids. */
export interface NotedRows {
  readonly source: SourceName;
  readonly first: number;
  readonly last: number;
}

/** Keeps a row that ends the process from ending it for ever: see RowNotes (row-notes.ts). */
export interface RowGuard {
  isQuarantined(eventId: string): boolean;
  /** Does the work on a row, all of it, with a note of which row it is. */
  attempt<T>(row: NotedRow, work: () => T): T;
  /** Work on some rows begins, of many: to be called as often as one likes. */
  begin(rows: NotedRows): void;
  /** What was begun is done. */
  end(): void;
  /** What else is done with every event, once, so that the note names the row while it is done for the first time. */
  rehearse(event: AuditEvent): void;
  /** Whether rows that come in great numbers are noted too. */
  readonly careful: boolean;
}
