import { localTime, parseTime } from '../audit/time.js';
import { TimeZone } from '../audit/time-zone.js';
import type { SqlValue } from './event-id.js';

const SECONDS = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;
const DAY = 10;

/**
 * Parses `created_at`. Rows of one day are adjacent, and nearly all are in SQLite's format: only the first of a day needs the whole parser
 * (0.05 µs a row instead of 0.5).
 */
export class CreatedReader {
  private day = '';
  private midnight: number | null = null;
  private readonly zone: TimeZone | null;

  /** @param timeZone `source.time_zone`, for times without one; undefined: UTC. Required, because a caller that forgot it would get wrong times */
  constructor(timeZone: string | undefined) {
    this.zone = TimeZone.of(timeZone);
  }

  /** Milliseconds since the epoch; null if it is not a time. */
  read(value: SqlValue): number | null {
    if (typeof value !== 'string' || value.length !== 19) return parseTime(value, this.zone);
    if (this.midnight === null || !value.startsWith(this.day)) {
      const time = parseTime(value, this.zone);
      if (time !== null && SECONDS.test(value)) {
        this.day = value.slice(0, DAY + 1);
        this.midnight = parseTime(`${this.day}00:00:00`);
      }
      return time;
    }
    const hours = pair(value, 11, 23);
    const minutes = pair(value, 14, 59);
    const seconds = pair(value, 17, 59);
    if (hours < 0 || minutes < 0 || seconds < 0 || value[13] !== ':' || value[16] !== ':')
      return parseTime(value, this.zone);
    const time = this.midnight + ((hours * 60 + minutes) * 60 + seconds) * 1_000;
    return this.zone === null ? time : localTime(time, this.zone);
  }
}

/** Two digits up to `highest`, or -1. */
function pair(text: string, at: number, highest: number): number {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  if (tens < 0 || tens > 9 || ones < 0 || ones > 9) return -1;
  const number = tens * 10 + ones;
  return number <= highest ? number : -1;
}
