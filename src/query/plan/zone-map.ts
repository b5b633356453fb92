import type { Database, Statement } from 'better-sqlite3';
import { CreatedReader } from '../../source/created-at.js';
import type { RawRow, SqlValue } from '../../source/event-id.js';
import { COLUMN_KEYS, type ColumnKey } from '../../source/table-schema.js';
import type { Filter } from '../filter.js';
import { type TimedIdRange, upTo } from './id-ranges.js';
import { hasSqliteForm } from './sql-time.js';
import { type QueryTable, selectList } from './table-schema.js';

/** Rows of a zone. */
const ROWS = 4_096;
/** Tables with fewer zones are read faster than a map of them is made. */
const FEW = 4;
/** Rows may be put back or changed under ids that a map has: so old it may be. */
const OLDEST_MS = 600_000;
/** Most zones whose rows are checked for readable times for one filter: as many as a page's count covers. */
const READ = 3;
/** No change of clocks was ever larger: Samoa skipped a day. */
const APART_MS = 26 * 3_600_000;
/** The form in which SQLite writes a time. No other readable time has this form, and times in it sort as their texts do. */
const SQLITE_FORM = '????-??-?? ??:??:??';
const LENGTH = SQLITE_FORM.length;
/** The columns by which two rows are compared. */
const SHORT: ReadonlySet<ColumnKey> = new Set(COLUMN_KEYS.filter((key) => key !== 'details'));

/** The rows above the last id of the zone before and up to this one. */
interface Zone {
  readonly last: number;
  /** The least and the greatest time of its rows; rows without a readable time are ignored. */
  readonly least: number;
  readonly greatest: number;
  /** Whether every row has a readable time; null until it is checked. */
  isRead: boolean | null;
}

export interface Zoned {
  readonly ranges: readonly TimedIdRange[];
  /** False if another step could exclude more. */
  readonly isWhole: boolean;
}

export interface ZoneOptions {
  /** Rows in a zone; 0: no map. */
  readonly rows?: number | undefined;
  /** The time zone of times without one; omitted: UTC. */
  readonly timeZone?: string | undefined;
  /** A monotonic clock, milliseconds. */
  readonly clock?: () => number;
}

/**
 * A zone map (block range index) of one table: the least and the greatest time of every few thousand rows in the order of ids. It translates
 * a range of time to ranges of ids that contain every matching row, even if clocks were wrong or rows were inserted out of order. It is kept
 * between queries, and extended by the rows added since.
 */
export class ZoneMap {
  private zones: Zone[] = [];
  private table: QueryTable | null = null;
  private highest = 0;
  /** The highest id when the end of the table was reached: fewer rows than a zone has were above the last zone, perhaps with gaps. */
  private ended = 0;
  private since = 0;
  /** The last row of the last zone. If it changes, ids were reused or the database was replaced. */
  private anchor = '';
  /** Whether the rows read last had times that are not in SQLite's form. */
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
   * The ranges of ids up to `snapshot` that may have matching rows, the newest first.
   *
   * @param highest the highest id that the table has now
   * @param until the end of the step, by `performance.now()`; the next step continues. Rows not read by then may match. Null: the map is
   *   used as it is
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
    if (this.isStale(db, table, highest)) this.reset(table);
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

  private reset(table: QueryTable): void {
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

  /** Reads whole zones; the rows after them always count as matching. @returns whether the end was reached */
  private fill(db: Database, table: QueryTable, until: number): boolean {
    const before = this.zones.length;
    const zones = new ZoneReader(db, table, this.created);
    let isAtEnd = false;
    while (!isAtEnd && this.highest - this.mapped >= this.rows) {
      if (performance.now() > until && this.zones.length > before) break;
      const inSql = this.isOdd ? 'odd' : zones.readInSql(this.mapped, this.rows);
      const zone = inSql === 'odd' ? zones.readRows(this.mapped, this.rows) : inSql;
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

  /** Checks the newest zones within the range of time: whether all their rows have a readable time. Each is checked once, for all queries. */
  private readNewest(db: Database, table: QueryTable, from: number | null, to: number | null): void {
    const zones = new ZoneReader(db, table, this.created);
    for (let at = this.zones.length - 1, left = READ; at >= 0 && left > 0; at--) {
      const zone = this.zones[at];
      if (zone === undefined || !isInside(zone, from, to)) continue;
      zone.isRead ??= zones.haveSqliteForm(this.zones[at - 1]?.last ?? 0, zone.last);
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

/** Reads the zone above an id; null if there are fewer rows than a zone has. */
class ZoneReader {
  private aggregates: Statement | null = null;
  private times: Statement | null = null;

  constructor(
    private readonly db: Database,
    private readonly table: QueryTable,
    private readonly created: CreatedReader,
  ) {}

  /** Reads it by an aggregate in SQLite; `odd` if a row's time is not in SQLite's form. */
  readInSql(above: number, rows: number): Read | 'odd' | null {
    // To SQLite, text is greater than any number, and a BLOB is greater than any text.
    this.aggregates ??= this.db
      .prepare(
        `SELECT count(*), max(i), count(c), sum(c GLOB '${SQLITE_FORM}'), min(c COLLATE BINARY), max(c COLLATE BINARY)
         FROM (${this.sql()})`,
      )
      .raw();
    const [count, last, texts, alike, least, greatest] = this.aggregates.get(above, rows) as SqlValue[];
    if (count !== rows) return null;
    if (texts !== alike || typeof least !== 'string' || typeof greatest !== 'string') return 'odd';
    // When clocks change for daylight saving time, a later text may be an earlier time.
    const around = this.table.isUtc ? 0 : APART_MS;
    return {
      last: Number(last),
      least: (this.created.read(least) ?? Number.NEGATIVE_INFINITY) - around,
      greatest: (this.created.read(greatest) ?? Number.POSITIVE_INFINITY) + around,
      isRead: null, // checking it for every zone would take half as long again
      isOdd: false,
    };
  }

  /** Whether every row from above one id up to another has a time in SQLite's form. */
  haveSqliteForm(above: number, last: number): boolean {
    const { columns, byId } = this.table;
    const sql = `SELECT count(*) - total(${hasSqliteForm(columns.created_at, this.table.isUtc)}) FROM ${byId} WHERE ${columns.id} > ? AND ${columns.id} <= ?`;
    return this.db.prepare(sql).pluck().get(above, last) === 0;
  }

  /** Reads it row by row, with times of any form. */
  readRows(above: number, rows: number): Read | null {
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
