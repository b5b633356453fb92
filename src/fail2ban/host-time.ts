import { readlinkSync } from 'node:fs';
import { TimeZone } from '../audit/time-zone.js';
import { codeOf } from '../errors.js';

const LOCALTIME = '/etc/localtime';
const ZONES = 'zoneinfo/';

/**
 * Parses a local time of a service on this host, such as `2026-11-22 20:21:00`, in ms since the epoch. Services use the zone of the host,
 * even if a command has another TZ. NaN if the text is not a time.
 */
export function hostInstant(wall: string, zone: string | null = hostZone()): number {
  if (zone === null) return Date.parse(wall.replace(' ', 'T'));
  const utc = Date.parse(`${wall.replace(' ', 'T')}Z`);
  return Number.isNaN(utc) ? utc : (TimeZone.of(zone)?.instant(utc) ?? utc);
}

/** Null if it is the zone of this process, or can't be found. */
export function hostZone(localtime = LOCALTIME): string | null {
  if ((process.env.TZ ?? '') === '') return null;
  try {
    const path = readlinkSync(localtime);
    const at = path.indexOf(ZONES);
    if (at < 0) return null;
    const name = path.slice(at + ZONES.length);
    TimeZone.of(name);
    return name;
  } catch (error) {
    // Without that file, services use UTC.
    return codeOf(error) === 'ENOENT' ? 'UTC' : null;
  }
}
