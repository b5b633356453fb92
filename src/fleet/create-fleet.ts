import { loadPart } from '../installation.js';
import type { Fleet, FleetOptions } from './fleet.js';
import { fleetConnection } from './nats-config.js';

/** This daemon's part in a fleet; null if it is alone. The code for NATS is loaded only for a fleet. */
export async function createFleet(options: FleetOptions): Promise<Fleet | null> {
  if (fleetConnection(options.config) === null) return null;
  const loaded = await loadPart('the fleet', () => import('./fleet.js'));
  return new loaded.Fleet(options);
}
