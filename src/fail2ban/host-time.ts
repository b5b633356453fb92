import { readlinkSync } from 'node:fs';
import { TimeZone } from '../audit/time-zone.js';
import { codeOf } from '../errors.js';

const LOCALTIME = '/etc/localtime';
const ZONES = 'zoneinfo/';

/**
 * What `2026-11-22 20:21:00` means that a service of this host has said, in ms since the epoch: services go by the zone of the host,
 * whatever TZ says to a command that somebody runs. NaN for what is no time.
 */
export function hostInstant(wall: string, zone: string | null = hostZone()): number {
  if (zone === null) return Date.parse(wall.replace(' ', 'T'));
  const utc = Date.parse(`${wall.replace(' ', 'T')}Z`);
  return Number.isNaN(utc) ? utc : (TimeZone.of(zone)?.instant(utc) ?? utc);
}

/** Null where it is that of this process, or can't be found. */
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
    // Without that file services go by UTC.
    return codeOf(error) === 'ENOENT' ? 'UTC' : null;
  }
}
