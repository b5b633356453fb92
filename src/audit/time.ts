const SQLITE = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?$/;
const NUMBER = /^-?\d{1,16}(?:\.\d+)?$/;
const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
/** Epoch numbers from here on are milliseconds (as seconds this would be the year 5138, as milliseconds March 1973). */
const FIRST_MILLISECONDS = 100_000_000_000;

let lastText = '';
let lastTime: number | null = null;

/**
 * Milliseconds since the epoch, or null where the value can't be read as a time from 1970 to 9999.
 *
 * Accepted: what SQLite writes (`2026-11-22 20:21:00`, fractions of a second, UTC), ISO 8601 with `T` and any offset,
 * and epoch seconds or milliseconds as number or as text; from 100,000,000,000 on a number is milliseconds.
 */
export function parseTime(value: unknown): number | null {
  if (typeof value === 'string') {
    if (value === lastText) return lastTime; // rows of one second stand side by side
    const time = parseText(value);
    lastText = value;
    lastTime = time;
    return time;
  }
  if (typeof value === 'number') return fromEpoch(value);
  if (typeof value === 'bigint') return fromEpoch(Number(value));
  return null;
}

function parseText(text: string): number | null {
  if (text.length > 40) return null;
  const match = SQLITE.exec(text);
  if (match === null) return NUMBER.test(text) ? fromEpoch(Number(text)) : null;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '0', fraction = '', offset = ''] = match;
  const millisecond = Number(fraction.slice(0, 3).padEnd(3, '0'));
  const parts = [Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)] as const;
  const utc = Date.UTC(...parts, millisecond);
  const date = new Date(utc);
  // Date.UTC carries over what is out of range: 30 February is not 2 March.
  const sound =
    date.getUTCMonth() === parts[1] &&
    date.getUTCDate() === parts[2] &&
    date.getUTCHours() === parts[3] &&
    date.getUTCMinutes() === parts[4] &&
    date.getUTCSeconds() === parts[5] &&
    date.getUTCFullYear() === parts[0];
  const shift = offsetMinutes(offset);
  return sound && shift !== null ? inRange(utc - shift * 60_000) : null;
}

function offsetMinutes(offset: string): number | null {
  if (offset === '' || offset === 'Z' || offset === 'z') return 0;
  const hours = Number(offset.slice(1, 3));
  const minutes = Number(offset.slice(3).replace(':', '') || '0');
  if (hours > 23 || minutes > 59) return null;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

function fromEpoch(value: number): number | null {
  return inRange(Math.round(Math.abs(value) >= FIRST_MILLISECONDS ? value : value * 1_000));
}

function inRange(time: number): number | null {
  return time >= 0 && time <= LATEST ? time : null;
}
