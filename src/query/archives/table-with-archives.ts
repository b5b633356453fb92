import type { Database } from 'better-sqlite3';
import type { AuditEvent } from '../../audit/event.js';
import type { RawRow } from '../../source/event-id.js';
import { stepEnd } from '../../source/journal-mode.js';
import { type QueryTable, selectList } from '../plan/table-schema.js';
import type { MatchedRow, TableScan } from '../scan/table-scan.js';
import type { ArchivedLine, ArchivedRows } from './archive-reader.js';
import { type ArchivedReader, isSameRow } from './archived-row.js';

/** A sequence of rows, the newest first, that is read in steps. */
export type RowCursor = Pick<TableScan, 'source' | 'queue' | 'done' | 'step' | 'position'>;

export interface TableWithArchivesOptions {
  readonly walk: TableScan;
  readonly table: QueryTable;
  readonly rows: ArchivedRows;
  readonly reader: ArchivedReader;
  readonly matches: (event: AuditEvent) => boolean;
  readonly inTime: (time: number | null) => boolean;
  /** The check that is still needed when the time of a row is known. For `nothing` and `time`, events are not needed. */
  readonly undecided: 'nothing' | 'time' | 'all';
  /** Rows below this id. */
  readonly before: number;
  readonly stepMs: number;
  /** Whether versions of edited rows are excluded, as they are added to their entry. */
  readonly withoutVersions: boolean;
}

/** Rows between two checks of the clock. */
const SLICE = 64;

/**
 * A table and its archives as one sequence: by id, the newest first, a row that is in both only once. Each range of ids is read from the
 * table before the archives, so a row that is archived in between is not missed.
 */
export class TableWithArchives implements RowCursor {
  readonly source: TableScan['source'];
  queue: MatchedRow[] = [];
  done = false;
  /** Rows that were read from the table and are not yet in the queue. */
  private ahead: MatchedRow[] = [];
  private at = 0;
  /** The archived rows of the last id, each once. */
  private twins: ArchivedLine[] = [];
  private reached: number;

  constructor(private readonly options: TableWithArchivesOptions) {
    this.source = options.walk.source;
    this.reached = options.before;
  }

  get position(): number {
    return this.options.before <= 1 ? 0 : Math.max(0, (this.reached - 1) / (this.options.before - 1));
  }

  step(db: Database, wanted: number): void {
    const { walk, rows, stepMs } = this.options;
    const end = stepEnd(db, stepMs);
    do {
      if (this.at >= this.ahead.length && !walk.done) {
        this.readTable(db, wanted);
        rows.refresh();
      }
      for (let some = 0; some < SLICE && !this.done && this.queue.length < wanted; some++) {
        if (!this.take(db)) break;
      }
    } while (!this.done && this.queue.length < wanted && performance.now() < end);
  }

  private readTable(db: Database, wanted: number): void {
    const { walk } = this.options;
    walk.queue = [];
    walk.step(db, wanted);
    this.ahead = walk.queue;
    this.at = 0;
  }

  /** Adds the next row to the queue if it matches; false if the table has to be read further first. */
  private take(db: Database): boolean {
    const { walk, rows } = this.options;
    const next = this.ahead[this.at];
    // The archives can only be read down to the id that the table was read to.
    const floor = next?.sequence ?? (walk.done ? 1 : walk.reached);
    const archived = rows.peek(floor);
    if (archived !== null && (next === undefined || archived.id > next.sequence)) {
      rows.skip();
      this.reached = archived.id;
      if (this.isNew(archived)) this.addIfMatching(archived);
      return true;
    }
    if (next === undefined) {
      this.done = walk.done;
      return false;
    }
    this.at++;
    this.reached = next.sequence;
    this.queue.push(next);
    for (let twin = archived; twin !== null && twin.id === next.sequence; twin = rows.peek(next.sequence)) {
      rows.skip();
      if (this.isNew(twin) && !this.isInTable(db, twin)) this.addIfMatching(twin);
    }
    rows.excludeFrom(next.sequence);
    return true;
  }

  private addIfMatching(archived: ArchivedLine): void {
    const { source } = this;
    const { undecided, inTime, matches, reader, withoutVersions } = this.options;
    if (withoutVersions && reader.isVersion(archived)) return;
    if (undecided !== 'all') {
      const time = reader.time(archived);
      if (undecided === 'nothing' || inTime(time))
        this.queue.push({ source, sequence: archived.id, time, event: null });
      return;
    }
    const event = reader.event(archived);
    if (matches(event)) this.queue.push({ source, sequence: archived.id, time: event.time, event });
  }

  /** False for a row that another archive has too: a row that a restored backup brought back is archived again. */
  private isNew(archived: ArchivedLine): boolean {
    const { reader } = this.options;
    if (this.twins[0]?.id !== archived.id) this.twins = [];
    const isKnown = this.twins.some(
      (twin) => twin.line === archived.line || isSameRow(reader.raw(twin), reader.raw(archived)),
    );
    if (!isKnown) this.twins.push(archived);
    return !isKnown;
  }

  /** Whether the table has the archived row. A row that was deleted since the table was read was archived unchanged. */
  private isInTable(db: Database, archived: ArchivedLine): boolean {
    const { table, reader } = this.options;
    const sql = `SELECT ${selectList(table, null)} FROM ${table.byId} WHERE ${table.columns.id} = ?`;
    const row = db.prepare(sql).raw().safeIntegers().get(archived.id) as RawRow | undefined;
    return row === undefined || isSameRow(row, reader.raw(archived));
  }
}
