import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RedactionOptions } from '../audit/redaction.js';
import type { LoadedConfig } from '../config/load.js';
import type { TableConfig } from '../source/table-schema.js';

/** The options of the query engine. Plain data, so that they can be sent to another thread. */
export interface QueryOptions {
  readonly database: string;
  readonly table: string;
  readonly columns: TableConfig['columns'];
  readonly aliases: Readonly<Record<string, readonly string[]>>;
  /** Proxies that are skipped in a list of addresses, from its end; omitted or empty: a list is not an address. */
  readonly trustedProxies?: readonly string[];
  /** The time zone of Postern's times without one; omitted: UTC. */
  readonly timeZone?: string;
  /** `state.db`, with the daemon's own events. */
  readonly stateDatabase: string;
  readonly redact: Pick<RedactionOptions, 'keys' | 'mode'>;
  /** Directory of archives; omitted: archives are not read. */
  readonly archives?: string;
  /** The key that signs archives; null or omitted: they are not signed. */
  readonly sign?: string | null;
  /** The server of rows without one. */
  readonly server: string;
  /** Whether the table is a hub's, which has the versions of edited rows too. */
  readonly isHub?: boolean;
  /** Rows per zone of the zone map (plan/zone-map.ts). 0: no map, as for a single query. */
  readonly zoneRows?: number;
  /** Private directory for copies of a database that only its owner can open, created when needed; omitted: one in the directory for temporary files. */
  readonly copies?: string;
}

/** The options from the configuration. */
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

/** A path for copies of databases, with an unguessable name. The directory is created when needed. */
export function newCopiesDirectory(): string {
  return join(tmpdir(), `postern-query-${randomBytes(12).toString('hex')}`);
}
