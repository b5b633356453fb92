import type Database from 'better-sqlite3';
import type { AuditEvent } from '../audit/event.js';
import type { AuditTable } from './columns.js';
import { fingerprintOf, type RawRow } from './encoding.js';
import type { RowPlace, RowReader } from './row.js';
import type { History, LookRequest, Mark } from './source.js';
import { judge } from './timeline.js';

export interface Page {
  readonly state: 'page';
  readonly events: readonly AuditEvent[];
  readonly upTo: number;
  readonly more: boolean;
  readonly maxId: number;
  readonly markDeleted: boolean;
}

export interface Replaced {
  readonly state: 'replaced';
  readonly reason: string;
}

/** An id that JavaScript can't hold exactly. */
export interface Unfollowable {
  readonly state: 'unfollowable';
  readonly id: string;
}

/** What reads an audit table: in one connection, inside the caller's transaction, leaving no statement open. */
export class PageReader {
  /** Asked again at each look while the row at the mark is gone; what is recorded never changes. */
  private recorded: { timeline: number; id: number; fingerprint: string | null } | null = null;

  constructor(
    private readonly rows: RowReader,
    private readonly history: History,
    private readonly clock: () => number,
  ) {}

  read(db: Database.Database, table: AuditTable, request: LookRequest): Page | Replaced | Unfollowable {
    const highest = integer(db.prepare(table.sql.maxId).pluck().safeIntegers().get());
    const maxId = Number(highest ?? 0n);
    const place = this.place(db, table, request.mark.timeline);
    const verdict = judge({
      mark: request.mark,
      atMark: this.fingerprintAt(db, table.sql.row, request.mark, place)?.fingerprint ?? null,
      sequence: sequenceOf(db, table),
      maxId,
      probe: null,
    });
    const checked =
      verdict.history === 'deleted' ? this.probe(db, table, request.mark, place, maxId) : verdict;
    if (checked.history === 'replaced') return { state: 'replaced', reason: checked.reason };
    const events = this.events(db, table, request, place);
    const upTo = events.at(-1)?.sequence ?? request.after;
    const more = upTo < maxId;
    if (more && events.length === 0 && maxId > Number.MAX_SAFE_INTEGER) {
      return { state: 'unfollowable', id: String(highest) };
    }
    return { state: 'page', events, upTo, more, maxId, markDeleted: checked.history === 'deleted' };
  }

  row(db: Database.Database, table: AuditTable, id: number, timeline: number): AuditEvent | null {
    const row = db.prepare(table.sql.row).raw().safeIntegers().get(id) as RawRow | undefined;
    if (row === undefined) return null;
    const place = this.place(db, table, timeline);
    return this.rows.event(row, this.rows.identify(row, place).id, place);
  }

  private events(
    db: Database.Database,
    table: AuditTable,
    request: LookRequest,
    place: RowPlace,
  ): AuditEvent[] {
    const events: AuditEvent[] = [];
    let bytes = 0;
    const statement = db.prepare(table.sql.page).raw().safeIntegers();
    for (const row of statement.iterate(request.after, request.maxRows) as IterableIterator<RawRow>) {
      const { id, length } = this.rows.identify(row, place);
      events.push(this.rows.event(row, id, place));
      bytes += length;
      if (bytes >= request.maxBytes) break;
    }
    return events;
  }

  private probe(db: Database.Database, table: AuditTable, mark: Mark, place: RowPlace, maxId: number) {
    const below = this.fingerprintAt(db, table.sql.below, mark, place);
    const probe =
      below === null
        ? null
        : { id: below.id, found: below.fingerprint, recorded: this.recordedOf(mark.timeline, below.id) };
    return judge({ mark, atMark: null, sequence: sequenceOf(db, table), maxId, probe });
  }

  private recordedOf(timeline: number, id: number): string | null {
    const known = this.recorded;
    if (known !== null && known.timeline === timeline && known.id === id) return known.fingerprint;
    const fingerprint = this.history.fingerprintOf(timeline, id);
    this.recorded = { timeline, id, fingerprint };
    return fingerprint;
  }

  private fingerprintAt(
    db: Database.Database,
    sql: string,
    mark: Mark,
    place: RowPlace,
  ): { id: number; fingerprint: string } | null {
    if (mark.id === 0) return null;
    const row = db.prepare(sql).raw().safeIntegers().get(mark.id) as RawRow | undefined;
    if (row === undefined) return null;
    return { id: Number(row[0]), fingerprint: fingerprintOf(this.rows.identify(row, place).id) };
  }

  private place(db: Database.Database, table: AuditTable, timeline: number): RowPlace {
    return {
      timeline,
      ingested: this.clock(),
      defaults: table.defaults,
      bytesOf: (id, column) => {
        const row = db.prepare(table.sql.bytes).raw().get(id) as Array<Buffer | null> | undefined;
        return row?.[column] ?? null;
      },
    };
  }
}

function sequenceOf(db: Database.Database, table: AuditTable): number | null {
  if (!table.hasSequence) return null;
  const found = integer(
    db.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').pluck().safeIntegers().get(table.name),
  );
  return found === null ? null : Number(found);
}

function integer(value: unknown): bigint | null {
  return typeof value === 'bigint' ? value : null;
}
