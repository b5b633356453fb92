import { existsSync } from 'node:fs';
import { instance } from '../../instance.js';

/** Where systemd finds units of administrators and of packages (systemd.unit(5)). */
const PLACES = [
  '/etc/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** Whether the daemon's unit is installed, by hand or by a package. */
export function hasDaemonUnit(): boolean {
  const name = `postern-auditd${instance() === null ? '' : '@'}.service`;
  return PLACES.some((place) => existsSync(`${place}/${name}`));
}
