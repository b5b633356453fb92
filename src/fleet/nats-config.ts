import type { NatsConfig } from '../config/nats.js';
import type { Config } from '../config/schema.js';

/** How to connect to the fleet: `fleet.servers`, else the settings of the first sink of type jetstream; null if there is no fleet. */
export function fleetConnection({ fleet, sinks }: Pick<Config, 'fleet' | 'sinks'>): NatsConfig | null {
  if (fleet.servers !== undefined) return { ...fleet, servers: fleet.servers };
  return Object.values(sinks).find((sink) => sink.type === 'jetstream') ?? null;
}
