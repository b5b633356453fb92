import type Database from 'better-sqlite3';
import type { AuditEvent } from '../audit/event.js';
import { compareHistory, type Evidence, type HistoryVerdict } from './detect-replaced-database.js';
import { fingerprintOf, type RawRow } from './event-id.js';
import { keepsWriterOut, SHORT_MS, SHORT_ROWS } from './journal-mode.js';
import type { RowContext, RowReader } from './row-to-event.js';
import type {
  ChangedRows,
  EditsRequest,
  HighWaterMark,
  History,
  KeptRow,
  PageOfRows,
  ReadRequest,
  RecentRow,
  Replaced,
  Waiting,
} from './source.js';
import { waiting } from './source.js';
import { type AuditTable, COLUMN_KEYS } from './table-schema.js';

/**
 * Rows are fetched in slices: 128 at a time is nearly as fast as all at once, and limits the memory for rows of 1 MB
 * before their size is known. CPU per row: one by one 1.95 µs, 32 at a time 1.99, 128 1.63, all 1.49.
 */
const SLICE = 128;
/** The same for large rows. */
const SLICE_BYTES = 4 * 2 ** 20;

/** A page without a backlog has at most this many rows: noting each costs next to nothing. */
const FEW = 16;

/** In larger pages this many rows are noted together: 0.5 µs a row, with 16 twice that. */
const TOGETHER = 32;

/** Reads an audit table on one connection, inside the caller's transaction, leaving no statement open. */
export class PageReader {
  /** Bytes per row among the last rows read. */
  private average = 1;
  /** Cached, because each read needs it while the row at the mark is gone; recorded fingerprints never change. */
  private recorded: { timeline: number; id: number; fingerprint: string | null } | null = null;

  constructor(
    private readonly rows: RowReader,
    private readonly history: History,
    private readonly clock: () => number,
  ) {}

  /** @param postern whether this is Postern's database, or the copy of one after it stopped */
  read(
    db: Database.Database,
    table: AuditTable,
    request: ReadRequest,
    postern: PageOfRows['postern'] = 'running',
  ): PageOfRows | Replaced | Waiting {
    const highest = integer(db.prepare(table.sql.maxId).pluck().safeIntegers().get());
    const maxId = Number(highest ?? 0n);
    const context = this.contextOf(db, table, request.mark.timeline);
    const verdict = this.compareWithMark(db, table, request.mark, context, maxId);
    if (verdict.history === 'replaced') return { state: 'replaced', reason: verdict.reason };
    request.consumer?.begin();
    const { events, last, exhausted } =
      maxId > request.after
        ? this.events(db, table, request, context)
        : { events: [], last: null, exhausted: true };
    const upTo = last?.sequence ?? request.after;
    const more = request.before === undefined ? upTo < maxId : !exhausted;
    if (more && last === null && maxId > Number.MAX_SAFE_INTEGER) {
      return unsafeId(table, String(highest));
    }
    return {
      state: 'reading',
      postern,
      events,
      lastEventId: last?.id ?? null,
      upTo,
      more,
      maxId,
      markDeleted: verdict.history === 'deleted',
      markEdited: verdict.history === 'edited',
    };
  }

  /** Reads known rows again; unchanged ones cost only their hash. */
  edits(
    db: Database.Database,
    table: AuditTable,
    { mark, rows, maxBytes }: EditsRequest,
  ): ChangedRows | Replaced {
    const highest = integer(db.prepare(table.sql.maxId).pluck().safeIntegers().get());
    const context = this.contextOf(db, table, mark.timeline);
    const verdict = this.compareWithMark(db, table, mark, context, Number(highest ?? 0n));
    if (verdict.history === 'replaced') return { state: 'replaced', reason: verdict.reason };
    const changed: AuditEvent[] = [];
    let bytes = 0;
    let upTo = rows.at(-1)?.id ?? 0;
    this.compare(db, table, rows, context, ({ row, known, id, length }) => {
      bytes += length;
      if (fingerprintOf(id) !== known.fingerprint)
        changed.push(this.rows.event(row, id, { ...context, few: true }));
      if (bytes < maxBytes) return true;
      upTo = known.id;
      return false;
    });
    return { state: 'reading', changed, upTo };
  }

  /** The event of an earlier version of a row. */
  remade({ eventId, timeline, ingested, row }: KeptRow): AuditEvent {
    return this.rows.event(row, eventId, { timeline, ingested, defaults: [], bytesOf: () => null });
  }

  row(db: Database.Database, table: AuditTable, id: number, timeline: number): AuditEvent | null {
    const row = db.prepare(table.sql.row).raw().safeIntegers().get(id) as RawRow | undefined;
    if (row === undefined) return null;
    const context = this.contextOf(db, table, timeline);
    return this.event(row, context).event;
  }

  private event(row: RawRow, context: RowContext): { event: AuditEvent; length: number } {
    if (row.length === COLUMN_KEYS.length) {
      const { id, length } = this.rows.identify(row, context);
      return { event: this.rows.event(row, id, context), length };
    }
    const [of, action] = row.slice(COLUMN_KEYS.length);
    const own = row.slice(0, COLUMN_KEYS.length);
    const { id, length } = this.rows.identify(own, context);
    const revision =
      typeof of === 'bigint' ? { of: Number(of), action: typeof action === 'string' ? action : null } : null;
    return { event: this.rows.event(own, id, context, revision), length };
  }

  private events(
    db: Database.Database,
    table: AuditTable,
    request: ReadRequest,
    context: RowContext,
  ): {
    readonly events: AuditEvent[];
    /** The row with the highest id. */
    readonly last: { readonly sequence: number; readonly id: string } | null;
    readonly exhausted: boolean;
  } {
    const events: AuditEvent[] = [];
    const { consumer, before, after, maxRows, maxBytes } = request;
    const down = before !== undefined;
    const statement = db
      .prepare(down ? table.sql.down : table.sql.page)
      .raw()
      .safeIntegers();
    const alone: RowContext = { ...context, few: true };
    let bytes = 0;
    let count = 0;
    let last: { sequence: number; id: string } | null = null;
    let exhausted = false;
    let from = before ?? after;
    const short = keepsWriterOut(db);
    const end = short ? performance.now() + SHORT_MS : Number.POSITIVE_INFINITY;
    while (count < maxRows && bytes < maxBytes && (count === 0 || performance.now() < end)) {
      const fitting = Math.max(1, Math.ceil((maxBytes - bytes) / this.average));
      const wanted = Math.min(short ? SHORT_ROWS : SLICE, fitting, maxRows - count);
      const bounds = down ? [from, after] : [from];
      const found = statement.iterate(...bounds, wanted) as Iterable<RawRow>;
      const { rows, isCut } = sliceOf(found, maxBytes - bytes);
      const bytesBefore = bytes;
      let near = alone;
      let young: AuditEvent[] = [];
      for (const [index, row] of rows.entries()) {
        if (rows.length > FEW && index % TOGETHER === 0)
          near = this.rows.together(row, rows[index + TOGETHER - 1] ?? rows.at(-1), context);
        const { event, length } = this.event(row, near);
        (consumer === undefined ? events : young).push(event);
        from = event.sequence;
        bytes += length;
        count++;
        if (!down || last === null) last = { sequence: event.sequence, id: event.id };
        // The rows noted together: the note still names them while they are converted to bytes.
        if (young.length === TOGETHER) {
          consumer?.take(young);
          young = [];
        }
        if (bytes >= maxBytes) break;
      }
      if (young.length > 0) consumer?.take(young);
      if (rows.length > 0) this.average = Math.max(1, (bytes - bytesBefore) / rows.length);
      const isShort = rows.length < wanted && !isCut;
      exhausted = isShort && from === Number(rows.at(-1)?.[0] ?? from);
      if (isShort) break;
    }
    this.rows.end();
    return { events: down ? events.reverse() : events, last, exhausted };
  }

  private compareWithMark(
    db: Database.Database,
    table: AuditTable,
    mark: HighWaterMark,
    context: RowContext,
    maxId: number,
  ): HistoryVerdict {
    const atMark = this.fingerprintAt(db, table.sql.row, mark, context)?.fingerprint ?? null;
    if (atMark !== null || mark.id === 0) {
      const isAsItWas = atMark === null || mark.fingerprint === null || atMark === mark.fingerprint;
      const sequence = isAsItWas ? null : sequenceOf(db, table, maxId);
      const onlyEdited = () => this.onlyEdited(db, table, mark, mark.id, context);
      return compareHistory({ mark, atMark, sequence, maxId, probe: null, onlyEdited });
    }
    const probe = this.probe(db, table, mark, context);
    const onlyEdited = () => this.onlyEdited(db, table, mark, probe?.id ?? 0, context);
    return compareHistory({ mark, atMark, sequence: sequenceOf(db, table, maxId), maxId, probe, onlyEdited });
  }

  /** @param id the row that differs: if only its fingerprint is known, this can't be decided */
  private onlyEdited(
    db: Database.Database,
    table: AuditTable,
    mark: HighWaterMark,
    id: number,
    context: RowContext,
  ): boolean {
    const rows = this.history.recent?.(mark.timeline) ?? [];
    if (!rows.some((row) => row.id === id)) return false;
    let isEdited = true;
    this.compare(db, table, rows, context, ({ row, known, id: found }) => {
      isEdited = fingerprintOf(found) === known.fingerprint || isSame(row[1], known.createdAt);
      return isEdited;
    });
    return isEdited;
  }

  /** Calls back with each existing row among these, until the callback returns false. Reads ranges of ids, because a view may scan everything for one id. */
  private compare(
    db: Database.Database,
    table: AuditTable,
    rows: readonly RecentRow[],
    context: RowContext,
    onRow: (found: { row: RawRow; known: RecentRow; id: string; length: number }) => boolean,
  ): void {
    const first = rows[0];
    const last = rows.at(-1)?.id ?? 0;
    if (first === undefined) return;
    const known = new Map(rows.map((row) => [row.id, row]));
    const statement = db.prepare(table.sql.page).raw().safeIntegers();
    for (let after = first.id - 1; after < last; ) {
      const wanted = Math.max(1, Math.min(SLICE, Math.ceil(SLICE_BYTES / this.average)));
      const { rows: found, isCut } = sliceOf(
        statement.iterate(after, wanted) as Iterable<RawRow>,
        SLICE_BYTES,
      );
      for (const row of found) {
        after = Number(row[0]);
        const one = known.get(after);
        if (one === undefined) continue;
        const own = row.length === COLUMN_KEYS.length ? row : row.slice(0, COLUMN_KEYS.length);
        const { id, length } = this.rows.identify(own, context);
        if (!onRow({ row: own, known: one, id, length })) return;
      }
      if (found.length < wanted && !isCut) return;
    }
  }

  /** An earlier row that was read before, if the row at the mark is gone. */
  private probe(
    db: Database.Database,
    table: AuditTable,
    mark: HighWaterMark,
    context: RowContext,
  ): Evidence['probe'] {
    const below = this.fingerprintAt(db, table.sql.below, mark, context);
    if (!below) return null;
    return { id: below.id, found: below.fingerprint, recorded: this.recordedOf(mark.timeline, below.id) };
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
    mark: HighWaterMark,
    context: RowContext,
  ): { id: number; fingerprint: string } | null {
    if (mark.id === 0) return null;
    const row = db.prepare(sql).raw().safeIntegers().get(mark.id) as RawRow | undefined;
    if (row === undefined) return null;
    const own = row.length === COLUMN_KEYS.length ? row : row.slice(0, COLUMN_KEYS.length);
    return { id: Number(row[0]), fingerprint: fingerprintOf(this.rows.identify(own, context).id) };
  }

  private contextOf(db: Database.Database, table: AuditTable, timeline: number): RowContext {
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

/** JavaScript can't represent such an id exactly. */
function unsafeId(table: AuditTable, id: string): Waiting {
  const what = `table ${table.name} has a row with the id ${id}, above ${Number.MAX_SAFE_INTEGER}: neither it nor any later row can be read`;
  return waiting('failed', what, { next: 'Delete it, and set the table back in sqlite_sequence' });
}

/** Row by row, so that at most one row is read beyond the limit. */
function sliceOf(rows: Iterable<RawRow>, most: number): { rows: RawRow[]; isCut: boolean } {
  const read: RawRow[] = [];
  let size = 0;
  for (const row of rows) {
    read.push(row);
    size += sizeOf(row);
    if (size >= most) return { rows: read, isCut: true };
  }
  return { rows: read, isCut: false };
}

/** Length of text and bytes. Tests for an object first: `Buffer.isBuffer` for each of ten columns took 2.5 µs a row. */
function sizeOf(row: RawRow): number {
  let size = 0;
  for (let at = 0; at < row.length; at++) {
    const value = row[at];
    if (typeof value === 'string' || (typeof value === 'object' && value !== null)) size += value.length;
  }
  return size;
}

function sequenceOf(db: Database.Database, table: AuditTable, maxId: number): number | null {
  if (!table.hasSequence) return null;
  const found = integer(
    db.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').pluck().safeIntegers().get(table.name),
  );
  if (found !== null) return Number(found);
  return maxId === 0 ? 0 : null; // no row was ever inserted into this table: earlier rows came from another one
}

function integer(value: unknown): bigint | null {
  return typeof value === 'bigint' ? value : null;
}

function isSame(value: unknown, other: unknown): boolean {
  if (Buffer.isBuffer(value)) return Buffer.isBuffer(other) && value.equals(other);
  return value === other;
}
