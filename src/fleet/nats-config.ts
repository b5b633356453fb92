import type { NatsConfig } from '../config/nats.js';
import type { Config } from '../config/schema.js';

/** How the fleet is reached: by `fleet.servers`, else as the first sink of type jetstream does; null where there is no fleet. */
export function fleetConnection({ fleet, sinks }: Pick<Config, 'fleet' | 'sinks'>): NatsConfig | null {
  if (fleet.servers !== undefined) return { ...fleet, servers: fleet.servers };
  return Object.values(sinks).find((sink) => sink.type === 'jetstream') ?? null;
}
