import type { Database, Statement } from 'better-sqlite3';
import { CreatedReader } from '../../source/created-at.js';
import type { RawRow, SqlValue } from '../../source/event-id.js';
import { COLUMN_KEYS, type ColumnKey } from '../../source/table-schema.js';
import type { Filter } from '../filter.js';
import { type TimedIdRange, upTo } from './id-ranges.js';
import { isWritten } from './sql-time.js';
import { type QueryTable, selectList } from './table-schema.js';

/** Rows of a zone. */
const ROWS = 4_096;
/** Tables with fewer zones are read faster than a map of them is made. */
const FEW = 4;
/** Rows may be put back or changed under ids that a map has: so old it may be. */
const OLDEST_MS = 600_000;
/** Zones whose rows are looked at for one filter, to know that all of them have a time: so many as a page's count goes over. */
const READ = 3;
/** Further than that no clock was ever put: Samoa left out a day. */
const APART_MS = 26 * 3_600_000;
/** As SQLite writes a time. Nothing else that can be read as one looks so, and among these the order of times is that of the texts. */
const WRITTEN = '????-??-?? ??:??:??';
const LENGTH = WRITTEN.length;
/** What one row is told from another by. */
const SHORT: ReadonlySet<ColumnKey> = new Set(COLUMN_KEYS.filter((key) => key !== 'details'));

/** The rows above the last id of the zone before and up to this one. */
interface Zone {
  readonly last: number;
  /** Between these stand the times of all of its rows that have one. */
  readonly least: number;
  readonly greatest: number;
  /** Whether each of them has one; null as long as nobody has looked. */
  isRead: boolean | null;
}

export interface Zoned {
  readonly ranges: readonly TimedIdRange[];
  /** False if another step could leave out more. */
  readonly isWhole: boolean;
}

export interface ZoneOptions {
  /** Of a zone; 0: there is to be no map. */
  readonly rows?: number | undefined;
  /** Of times that are written without one; left out: UTC. As the table has it. */
  readonly timeZone?: string | undefined;
  /** Milliseconds of a clock that is never set. */
  readonly clock?: () => number;
}

/**
 * A zone map (block range index) of one table: the least and the greatest time of each few thousand rows in the order of their ids.
 * A range of time is translated with it to the ranges of ids outside of which nothing can be meant, whatever the clocks said
 * and in whatever order rows came. Kept from one query to the next; what was added meanwhile is read then.
 */
export class ZoneMap {
  private zones: Zone[] = [];
  private table: QueryTable | null = null;
  private highest = 0;
  /** The highest id when the end of the table was reached: fewer rows than a zone has stood above the last one, perhaps with gaps. */
  private ended = 0;
  private since = 0;
  /** The last row of the last zone: if that is another one, ids were given a second time, or the file is another. */
  private anchor = '';
  /** Whether the rows that were read last had other times than SQLite writes. */
  private isOdd = false;
  private readonly created: CreatedReader;
  private readonly rows: number;
  private readonly clock: () => number;

  constructor({ rows = ROWS, timeZone, clock = () => performance.now() }: ZoneOptions = {}) {
    this.created = new CreatedReader(timeZone);
    this.rows = rows;
    this.clock = clock;
  }

  /**
   * Where rows up to `snapshot` stand that may be meant, the newest first.
   *
   * @param highest the highest id that the table has now
   * @param until when the step is over, of `performance.now()`; the next one goes on where it was. What is not read by then may be meant.
   *   Null: nothing is to be read for it now
   */
  ranges(
    db: Database,
    table: QueryTable,
    filter: Pick<Filter, 'from' | 'to'>,
    place: { readonly highest: number; readonly snapshot: number },
    until: number | null,
  ): Zoned {
    const { highest, snapshot } = place;
    const { from, to } = filter;
    if (snapshot < 1) return { ranges: [], isWhole: true };
    const isMapped = this.rows > 0 && highest >= FEW * this.rows && !table.isView;
    if ((from === null && to === null) || !isMapped)
      return { ranges: [{ lowest: 1, highest: snapshot }], isWhole: true };
    if (this.isStale(db, table, highest)) this.forget(table);
    this.highest = highest;
    const isWhole = until === null ? this.isFull : this.fill(db, table, until);
    if (isWhole) this.readNewest(db, table, from, to);
    return { ranges: upTo(this.between(from, to), snapshot), isWhole };
  }

  private get mapped(): number {
    return this.zones.at(-1)?.last ?? 0;
  }

  private isStale(db: Database, table: QueryTable, highest: number): boolean {
    if (this.table !== table || highest < this.highest || this.clock() - this.since > OLDEST_MS) return true;
    return this.zones.length > 0 && this.lastRow(db, table) !== this.anchor;
  }

  private forget(table: QueryTable): void {
    this.zones = [];
    this.ended = 0;
    this.table = table;
    this.since = this.clock();
    this.isOdd = false;
  }

  private lastRow(db: Database, table: QueryTable): string {
    const sql = `SELECT ${selectList(table, SHORT)} FROM ${table.byId} WHERE ${table.columns.id} = ?`;
    const row = db.prepare(sql).raw().safeIntegers().get(this.mapped) as RawRow | undefined;
    return row?.map((value) => `${typeof value} ${String(value)}`).join('\n') ?? '';
  }

  /** Reads whole zones; what is left is always looked at. Whether the end was reached. */
  private fill(db: Database, table: QueryTable, until: number): boolean {
    const before = this.zones.length;
    const zones = new ZoneReader(db, table, this.created);
    let isAtEnd = false;
    while (!isAtEnd && this.highest - this.mapped >= this.rows) {
      if (performance.now() > until && this.zones.length > before) break;
      const written = this.isOdd ? 'odd' : zones.written(this.mapped, this.rows);
      const zone = written === 'odd' ? zones.exact(this.mapped, this.rows) : written;
      if (zone === null) isAtEnd = true;
      else {
        this.zones.push(zone);
        this.isOdd = zone.isOdd;
      }
    }
    if (this.zones.length > before) this.anchor = this.lastRow(db, table);
    if (isAtEnd) this.ended = this.highest;
    return this.isFull;
  }

  private get isFull(): boolean {
    return this.highest - Math.max(this.mapped, this.ended) < this.rows;
  }

  /** Of the newest zones that stand in the range of time: whether all of their rows do. Each is looked at once; the next query's count need not. */
  private readNewest(db: Database, table: QueryTable, from: number | null, to: number | null): void {
    const zones = new ZoneReader(db, table, this.created);
    for (let at = this.zones.length - 1, left = READ; at >= 0 && left > 0; at--) {
      const zone = this.zones[at];
      if (zone === undefined || !isInside(zone, from, to)) continue;
      zone.isRead ??= zones.areWritten(this.zones[at - 1]?.last ?? 0, zone.last);
      left--;
    }
  }

  private between(from: number | null, to: number | null): TimedIdRange[] {
    const ranges: TimedIdRange[] = [];
    let range: TimedIdRange = { lowest: this.mapped + 1, highest: Number.MAX_SAFE_INTEGER, isInTime: false };
    for (let at = this.zones.length - 1; at >= 0; at--) {
      const zone = this.zones[at];
      if (zone === undefined) break;
      if (zone.greatest < (from ?? zone.greatest) || zone.least >= (to ?? Number.POSITIVE_INFINITY)) continue;
      const lowest = (this.zones[at - 1]?.last ?? 0) + 1;
      const isInTime = zone.isRead === true && isInside(zone, from, to);
      if (zone.last + 1 === range.lowest && isInTime === range.isInTime) range = { ...range, lowest };
      else {
        ranges.push(range);
        range = { lowest, highest: zone.last, isInTime };
      }
    }
    return [...ranges, range];
  }
}

function isInside({ least, greatest }: Zone, from: number | null, to: number | null): boolean {
  return least >= (from ?? least) && greatest < (to ?? Number.POSITIVE_INFINITY);
}

interface Read extends Zone {
  readonly isOdd: boolean;
}

/** Reads the zone above an id; null if there are not so many rows. */
class ZoneReader {
  private aggregates: Statement | null = null;
  private times: Statement | null = null;

  constructor(
    private readonly db: Database,
    private readonly table: QueryTable,
    private readonly created: CreatedReader,
  ) {}

  /** Inside of SQLite; `odd` if not every row's time is as SQLite writes it. */
  written(above: number, rows: number): Read | 'odd' | null {
    // Of all types the greatest text is greater than any number, and the greatest BLOB than any text.
    this.aggregates ??= this.db
      .prepare(
        `SELECT count(*), max(i), count(c), sum(c GLOB '${WRITTEN}'), min(c COLLATE BINARY), max(c COLLATE BINARY)
         FROM (${this.sql()})`,
      )
      .raw();
    const [count, last, texts, alike, least, greatest] = this.aggregates.get(above, rows) as SqlValue[];
    if (count !== rows) return null;
    if (texts !== alike || typeof least !== 'string' || typeof greatest !== 'string') return 'odd';
    // Where a clock is put forward or back, a later text may be an earlier time.
    const around = this.table.isUtc ? 0 : APART_MS;
    return {
      last: Number(last),
      least: (this.created.read(least) ?? Number.NEGATIVE_INFINITY) - around,
      greatest: (this.created.read(greatest) ?? Number.POSITIVE_INFINITY) + around,
      isRead: null, // would take half as long again to say of all of them
      isOdd: false,
    };
  }

  /** Whether each row above one id and up to another has a time, such as SQLite writes it. */
  areWritten(above: number, last: number): boolean {
    const { columns, byId } = this.table;
    const sql = `SELECT count(*) - total(${isWritten(columns.created_at, this.table.isUtc)}) FROM ${byId} WHERE ${columns.id} > ? AND ${columns.id} <= ?`;
    return this.db.prepare(sql).pluck().get(above, last) === 0;
  }

  /** Whatever they are. */
  exact(above: number, rows: number): Read | null {
    this.times ??= this.db.prepare(this.sql()).raw().safeIntegers();
    const found = this.times.all(above, rows) as RawRow[];
    if (found.length < rows) return null;
    let least = Number.POSITIVE_INFINITY;
    let greatest = Number.NEGATIVE_INFINITY;
    let isOdd = false;
    let isRead = true;
    for (const [, raw = null] of found) {
      const value = Buffer.isBuffer(raw) ? raw.toString() : raw;
      if (typeof value !== 'string' || value.length !== LENGTH || value[10] !== ' ') isOdd = true;
      const time = this.created.read(value);
      if (time === null) {
        isRead = false;
        continue;
      }
      if (time < least) least = time;
      if (time > greatest) greatest = time;
    }
    return { last: Number(found.at(-1)?.[0]), least, greatest, isRead, isOdd };
  }

  private sql(): string {
    const { columns, byId } = this.table;
    return `SELECT ${columns.id} AS i, ${columns.created_at} AS c FROM ${byId} WHERE ${columns.id} > ? AND ${columns.id} <= ${Number.MAX_SAFE_INTEGER} ORDER BY ${columns.id} LIMIT ?`;
  }
}
