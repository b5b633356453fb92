import type { NatsConfig } from '../../config/nats.js';
import type { Config } from '../../config/schema.js';
import { AuditdError } from '../../errors.js';
import { fleetConnection } from '../../fleet/nats-config.js';

/** How the fleet is reached. @throws AuditdError `USAGE` if the configuration does not say */
export function connectionOf(config: Pick<Config, 'fleet' | 'sinks'>): NatsConfig {
  const nats = fleetConnection(config);
  if (nats !== null) return nats;
  const next = 'Add a sink of type jetstream, or fleet.servers (docs/guide/FLEET.md)';
  throw new AuditdError('USAGE', 'The configuration names no NATS servers', { next });
}
