import { join } from 'node:path';
import type { LoadedConfig } from '../config/load.js';
import type { QueryOptions } from './query-sources.js';

/** What the configuration says of where entries are. */
export function queryOptionsOf(config: LoadedConfig['config']): QueryOptions {
  const { database, table, columns, aliases } = config.source;
  const { trusted_proxies: trustedProxies, time_zone: timeZone } = config.source;
  const { redact, server, state } = config;
  const { directory: archives, sign } = config.retention.archive;
  const stateDatabase = join(state, 'state.db');
  const isHub = config.fleet.role === 'hub';
  return {
    database,
    table,
    columns,
    aliases,
    trustedProxies,
    timeZone,
    stateDatabase,
    archives,
    sign,
    redact,
    server,
    isHub,
  };
}
