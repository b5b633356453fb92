import type { NatsConfig } from '../../config/nats.js';
import type { Config } from '../../config/schema.js';
import { AuditdError } from '../../errors.js';
import { fleetConnection } from '../../fleet/nats-config.js';

/** The connection to the fleet. @throws AuditdError `USAGE` if the configuration has none */
export function connectionOf(config: Pick<Config, 'fleet' | 'sinks'>): NatsConfig {
  const nats = fleetConnection(config);
  if (nats !== null) return nats;
  const next = 'Add a sink of type jetstream, or fleet.servers (docs/guide/FLEET.md)';
  throw new AuditdError('USAGE', 'The configuration names no NATS servers', { next });
}
