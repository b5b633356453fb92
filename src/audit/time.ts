import { FURTHEST_MS, type TimeZone } from './time-zone.js';

/** Go's Time.String appends the zone's name and its monotonic clock to the offset: `+0000 UTC m=+0.000012345`. */
const WRITTEN =
  /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?(?:(?<=[+-]\d{4}) (?:[A-Z]{1,6}|[+-]\d{2,4})(?: m=[+-]\d{1,10}(?:\.\d{1,9})?)?)?$/;
/** ISO 8601's basic format: `20261130T105322Z`. */
const BASIC = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(?:[.,](\d{1,9}))?(Z|z|[+-]\d\d(?::?\d\d)?)?$/;
/** Go's longest text has 70 characters. */
const LONGEST = 80;
/** Epoch micro- and nanoseconds of the years 2001 to 2286: a double cannot hold all of them. */
const FINE_DIGITS = /^(?:\d{16}|\d{19})$/;
const FIRST_MICROSECONDS = 10n ** 15n;
const FIRST_NANOSECONDS = 10n ** 18n;
/** SQLite's greatest integer means `never`. */
const NO_TIME = 2n ** 63n - 1n;
const NUMBER = /^-?\d{1,16}(?:\.\d+)?$/;
const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
/** Epoch numbers from here on are milliseconds (as seconds this would be the year 5138, as milliseconds March 1973). */
const FIRST_MILLISECONDS = 100_000_000_000;

let lastText = '';
let lastZone: TimeZone | null = null;
let lastTime: number | null = null;
let lastDate = '';
let lastMidnight: number | null = null;

/**
 * Milliseconds since the epoch, or null where the value can't be read as a time from 1970 to 9999.
 *
 * Accepted: SQLite's text (`2026-11-22 20:21:00`, with or without seconds and fractions of them, UTC), ISO 8601 with
 * `T` and any offset, extended or basic (`20261122T202100Z`), ` UTC` after a time, Go's text (`2026-11-22 20:21:00.5 +0000 UTC`,
 * also with `m=+0.1`), and the epoch as number or as text: seconds, from 100,000,000,000 on milliseconds, with 16 digits
 * microseconds, with 19 nanoseconds. Finer fractions of a written time are cut off. A date alone, a leap second and 24:00 are not times.
 *
 * @param zone of times that are written without one; null: UTC
 */
export function parseTime(value: unknown, zone: TimeZone | null = null): number | null {
  if (typeof value === 'string') {
    if (value === lastText && zone === lastZone) return lastTime; // rows of one second are neighbours
    const time = (value.length === 19 ? fromSqlite(value, zone) : null) ?? fromText(value, zone);
    lastText = value;
    lastZone = zone;
    lastTime = time;
    return time;
  }
  if (typeof value === 'number') return fromEpoch(value);
  if (typeof value === 'bigint') return fromInteger(value);
  return null;
}

/** Reads `YYYY-MM-DD HH:MM:SS` and nothing else. A regular expression and a Date are used only for the first time of each day. */
function fromSqlite(text: string, zone: TimeZone | null): number | null {
  if (text.charCodeAt(10) !== 32 || text.charCodeAt(13) !== 58 || text.charCodeAt(16) !== 58) return null;
  const date = text.slice(0, 10);
  if (date !== lastDate) {
    lastDate = date;
    lastMidnight = fromText(`${date} 00:00:00`, null);
  }
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  if (lastMidnight === null || hour > 23 || minute > 59 || second > 59) return null;
  const time = lastMidnight + ((hour * 60 + minute) * 60 + second) * 1_000;
  return zone === null ? time : localTime(time, zone);
}

/** 100 or more if they are not digits. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  return tens < 0 || tens > 9 || ones < 0 || ones > 9 ? 100 : tens * 10 + ones;
}

function fromText(text: string, zone: TimeZone | null): number | null {
  if (text.length > LONGEST) return null;
  const match = WRITTEN.exec(text) ?? BASIC.exec(text);
  if (match === null) {
    if (FINE_DIGITS.test(text)) return fromInteger(BigInt(text));
    return NUMBER.test(text) ? fromEpoch(Number(text)) : null;
  }
  const [
    ,
    year = '',
    month = '',
    day = '',
    hour = '',
    minute = '',
    second = '0',
    fraction = '',
    offset = '',
  ] = match;
  const midnight = Date.UTC(Number(year), Number(month) - 1, Number(day));
  const date = new Date(midnight);
  // Date.UTC carries values out of range over, but 30 February is not 2 March. (It takes the years 0 to 99 for 19xx.)
  if (date.getUTCDate() !== Number(day) || date.getUTCMonth() !== Number(month) - 1) return null;
  if (date.getUTCFullYear() !== Number(year)) return null;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null;
  const shift = offsetMinutes(offset);
  if (shift === null) return null;
  const minutes = Number(hour) * 60 + Number(minute) - shift;
  const time =
    midnight + minutes * 60_000 + Number(second) * 1_000 + Number(fraction.slice(0, 3).padEnd(3, '0'));
  return offset === '' && zone !== null ? localTime(time, zone) : inRange(time);
}

/** @param wall what the clock in the zone showed, as if that were UTC */
export function localTime(wall: number, zone: TimeZone): number | null {
  return wall < -FURTHEST_MS || wall > LATEST + FURTHEST_MS ? null : inRange(zone.instant(wall));
}

function offsetMinutes(offset: string): number | null {
  if (offset === '' || offset === 'Z' || offset === 'z' || offset === 'UTC') return 0;
  const hours = Number(offset.slice(1, 3));
  const minutes = Number(offset.slice(3).replace(':', '') || '0');
  if (hours > 23 || minutes > 59) return null;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

/** Reads the number exactly, even if a double does not have enough digits. */
function fromInteger(value: bigint): number | null {
  if (value < FIRST_MICROSECONDS) return fromEpoch(Number(value));
  if (value < 10n * FIRST_MICROSECONDS) return Number(value / 1_000n);
  return value >= FIRST_NANOSECONDS && value < NO_TIME ? Number(value / 1_000_000n) : null;
}

function fromEpoch(value: number): number | null {
  if (value < 0) return null;
  if (value >= 1e15) return Number.isFinite(value) ? fromInteger(BigInt(Math.floor(value))) : null;
  return inRange(Math.round(value >= FIRST_MILLISECONDS ? value : value * 1_000));
}

function inRange(time: number): number | null {
  return time >= 0 && time <= LATEST ? time : null;
}
