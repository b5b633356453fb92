import type { AuditEvent, SourceName } from '../audit/event.js';

/** The rows that a read brought for the first time. */
export interface FirstReadRange {
  readonly source: SourceName;
  readonly timeline: number;
  /** The mark before the read: the new rows are above it. */
  readonly after: number;
  /** The highest of them. */
  readonly upTo: number;
  /** Rows above this one were just written; the others belong to a backlog. */
  readonly liveAfter: number;
}

/**
 * Receives each row when it is read for the first time, in the order of the ids. It is called in the middle of a read, so it must not throw,
 * keep an event or take long: a backlog passes through it.
 */
export interface FirstReadObserver {
  /** A read begins: rows that were taken and not recorded are void. */
  begin(): void;
  take(event: AuditEvent): void;
  /** The rows that were taken are recorded: the next transaction of the state saves that, so each is taken once. */
  recorded(range: FirstReadRange): void;
}
