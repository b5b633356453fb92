import { existsSync } from 'node:fs';

/** Where systemd finds units of administrators and of packages (systemd.unit(5)). */
const PLACES = [
  '/etc/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** Whether a unit of this name is installed, by hand or by a package. */
export function hasUnit(name: string): boolean {
  return PLACES.some((place) => existsSync(`${place}/${name}`));
}
