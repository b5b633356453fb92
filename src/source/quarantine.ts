import type { AuditEvent, SourceName } from '../audit/event.js';

/** Identifies a row by content, independent of its database. */
export interface NotedRow {
  readonly source: SourceName;
  /** Row id, shown to people. */
  readonly row: string;
  /** `event.id` */
  readonly id: string;
}

/** Ids of rows that are processed one after the other. */
export interface NotedRows {
  readonly source: SourceName;
  readonly first: number;
  readonly last: number;
}

/** Prevents a row from crashing the process again and again (crash-notes.ts). */
export interface RowGuard {
  isQuarantined(eventId: string): boolean;
  /** Whether this process recently processed the row without a crash: fail2ban's reads of the head and the sinks read the same rows. */
  wasTried(eventId: string): boolean;
  /** Does all work on a row, while a note names the row. */
  attempt<T>(row: NotedRow, work: () => T): T;
  /** Called before the work on a group of rows; may be called repeatedly. */
  begin(rows: NotedRows): void;
  /** Called when that work is done. */
  end(): void;
  /** Does everything that is done with each event once, so that the note names the row the first time. */
  rehearse(event: AuditEvent): void;
  /** Whether the rows of large pages are noted, too. */
  readonly careful: boolean;
}

/** Key in `meta` of state.db of the quarantined rows (`quarantinedIn`), for processes that read the tables without the daemon. */
export const QUARANTINED_PLACES = 'quarantined_places';

/** Adds a row. @param before the saved text; null if there is none */
export function withQuarantined(before: string | null, { source, row, id }: NotedRow): string {
  return JSON.stringify([...placesIn(before), { source, row, id }]);
}

/** Row ids of a source, and the `event.id` of each row. */
export function quarantinedIn(text: string | null, source: SourceName): ReadonlySet<string> {
  return new Set(placesIn(text).flatMap((place) => (place.source === source ? [place.row, place.id] : [])));
}

function placesIn(text: string | null): NotedRow[] {
  try {
    const list: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(list) ? list.filter(isPlace) : [];
  } catch {
    return [];
  }
}

function isPlace(value: unknown): value is NotedRow {
  const { source, row, id } = (value ?? {}) as Partial<Record<keyof NotedRow, unknown>>;
  return [source, row, id].every((text) => typeof text === 'string');
}
