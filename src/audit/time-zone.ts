/** No zone was ever further from UTC: today's zones range from -12 to +14 hours. */
export const FURTHEST_MS = 16 * 3_600_000;

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Hours whose offset is remembered: more than eleven years of rows in any order. */
const MOST_HOURS = 100_000;
/** `Intl` in the notation of the United States: month, day, year, hours, minutes, seconds. */
const WRITTEN = /^(\d+)\/(\d+)\/(\d+), (\d+):(\d+):(\d+)$/;

/**
 * Local time of a zone, by Node's time zone data.
 *
 * A change of clocks skips one hour and repeats another. As in RFC 5545 (3.3.5), a repeated time is the first of both, and a skipped time
 * is read with the offset before the change: 02:30 is then 03:30.
 */
export class TimeZone {
  /** UTC without `Intl`, whose data of languages and zones takes 7 MB of memory. */
  private static readonly known = new Map<string, TimeZone | null>([['UTC', null]]);
  /** Offset from UTC for each hour of the local clock, in milliseconds; NaN if it changes within the hour. */
  private readonly hours = new Map<number, number>();
  private lastHour = Number.NaN;
  private lastOffset = 0;

  private constructor(
    readonly name: string,
    private readonly format: Intl.DateTimeFormat,
  ) {}

  /** Null for UTC, which needs no conversion. @throws RangeError if no zone has this name */
  static of(name = 'UTC'): TimeZone | null {
    const known = TimeZone.known.get(name);
    if (known !== undefined) return known;
    const zone = TimeZone.made(name);
    TimeZone.known.set(name, zone);
    return zone;
  }

  private static made(name: string): TimeZone | null {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    return format.resolvedOptions().timeZone === 'UTC' ? null : new TimeZone(name, format);
  }

  /** @param wall what the clock showed, as if that were UTC; both in milliseconds since the epoch */
  instant(wall: number): number {
    const hour = Math.floor(wall / HOUR);
    if (hour !== this.lastHour) {
      this.lastHour = hour;
      this.lastOffset = this.offsetIn(hour);
    }
    return wall - (Number.isNaN(this.lastOffset) ? this.offsetOnWall(wall) : this.lastOffset);
  }

  private offsetIn(hour: number): number {
    const known = this.hours.get(hour);
    if (known !== undefined) return known;
    const first = this.offsetOnWall(hour * HOUR);
    // The offset changes at most once a day. If both ends of an hour have the same one, the whole hour has it.
    const offset = first === this.offsetOnWall(hour * HOUR + HOUR - 1) ? first : Number.NaN;
    if (this.hours.size >= MOST_HOURS) this.hours.clear();
    this.hours.set(hour, offset);
    return offset;
  }

  private offsetOnWall(wall: number): number {
    // A day earlier and a day later are on different sides of a change, whatever the zone.
    const before = this.offsetAt(wall - DAY);
    const after = this.offsetAt(wall + DAY);
    if (before === after) return before;
    const isBefore = this.offsetAt(wall - before) === before;
    return isBefore || this.offsetAt(wall - after) !== after ? before : after;
  }

  /** How far the clock is ahead of UTC at an instant. */
  private offsetAt(instant: number): number {
    const seconds = Math.floor(instant / 1_000) * 1_000;
    const [, month, day, year, hour, minute, second] = WRITTEN.exec(this.format.format(seconds)) ?? [];
    const wall = Date.UTC(
      Number(year),
      Number(month) - 1,
      Number(day),
      Number(hour),
      Number(minute),
      Number(second),
    );
    return wall - seconds;
  }
}

/** Whether a zone of this name exists. */
export function isTimeZone(name: string): boolean {
  try {
    TimeZone.of(name);
    return true;
  } catch {
    return false;
  }
}
