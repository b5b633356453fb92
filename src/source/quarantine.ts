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
  /** It was worked on lately, in this process, and nothing happened: fail2ban's look at the head and the sinks' read the same rows. */
  wasTried(eventId: string): boolean;
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

/** In the table `meta` of state.db, as `quarantinedIn` reads it: the rows that are quarantined, for those who read the tables beside the daemon. */
export const QUARANTINED_PLACES = 'quarantined_places';

/** With one more row. @param before what stands there; null for nothing */
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
