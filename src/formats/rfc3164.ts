import type { AuditEvent } from '../audit/event.js';
import { type Facility, priority } from './priority.js';
import { headerField, isWritable } from './rfc5424.js';

export interface Rfc3164Options {
  readonly facility: Facility;
  /** TAG, cut at 32 characters; null omits it, as CEF and LEEF require. */
  readonly appName: string | null;
  /** Process id in brackets after the TAG; null omits it. */
  readonly procId: string | null;
  /**
   * The format has neither year nor zone (RFC 3164 section 4.1.2). Collectors read it as their own local time, so
   * `local`, the zone of this host, is right if both are in one zone, and `utc` if the collector is in UTC.
   */
  readonly zone: 'local' | 'utc';
  /** Longest HOSTNAME; default: 255. */
  readonly hostnameLength?: number;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function two(value: number, fill: string): string {
  return value < 10 ? `${fill}${value}` : String(value);
}

/** `Nov  2 08:05:00`: the day of the month is padded with a space, the rest with zeros. */
export function bsdTimestamp(time: number, zone: 'local' | 'utc'): string {
  const date = new Date(time);
  const utc = zone === 'utc';
  const month = months[utc ? date.getUTCMonth() : date.getMonth()] ?? 'Jan';
  const day = utc ? date.getUTCDate() : date.getDate();
  const hours = utc ? date.getUTCHours() : date.getHours();
  const minutes = utc ? date.getUTCMinutes() : date.getMinutes();
  const seconds = utc ? date.getUTCSeconds() : date.getSeconds();
  return `${month} ${two(day, ' ')} ${two(hours, '0')}:${two(minutes, '0')}:${two(seconds, '0')}`;
}

/**
 * Creates the function that builds the text before the body, up to its last space. An event without a readable time has
 * the time of reading. This format can't express "unknown"; the body does.
 */
export function createRfc3164Header(options: Rfc3164Options): (event: AuditEvent) => string {
  const { facility, zone, hostnameLength = 255 } = options;
  // For most receivers a tag ends at the first of these characters (section 4.1.3).
  const name = options.appName === null ? null : headerField(options.appName, 32).replace(/[:[\]]/g, '_');
  const procId =
    options.procId === null ? '' : `[${headerField(options.procId, 128).replace(/[[\]]/g, '_')}]`;
  const tag = name === null ? '' : `${name}${procId}: `;
  return (event) => {
    const time = bsdTimestamp(isWritable(event.time) ? event.time : event.ingested, zone);
    const host = headerField(event.server, hostnameLength);
    return `<${priority(facility, event.type.severity)}>${time} ${host} ${tag}`;
  };
}
