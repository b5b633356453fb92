import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RedactionOptions } from '../audit/redaction.js';
import type { LoadedConfig } from '../config/load.js';
import type { TableConfig } from '../source/table-schema.js';

/** What the engine has to know. Plain data, so that it can go to another thread. */
export interface QueryOptions {
  readonly database: string;
  readonly table: string;
  readonly columns: TableConfig['columns'];
  readonly aliases: Readonly<Record<string, readonly string[]>>;
  /** Of a list of addresses the last that is none of them counts; left out or empty: a list is no address. */
  readonly trustedProxies?: readonly string[];
  /** Of Postern's times that are written without one; left out: UTC. */
  readonly timeZone?: string;
  /** `state.db`, with the daemon's own events. */
  readonly stateDatabase: string;
  readonly redact: Pick<RedactionOptions, 'keys' | 'mode'>;
  /** Directory of archives; left out: they can't be asked for. */
  readonly archives?: string;
  /** The key that archives are signed with; null or left out: they are not. */
  readonly sign?: string | null;
  /** Of rows that name no server. */
  readonly server: string;
  /** The table is a hub's own: versions of edited rows stand in it, beside the rows. */
  readonly isHub?: boolean;
  /** How many rows share a least and a greatest time (plan/zone-map.ts). 0: none do; one single query has no use for a map. */
  readonly zoneRows?: number;
  /** Private directory for copies of a database that only its owner can open, made when needed; left out: one below that for temporary files. */
  readonly copies?: string;
}

/** Takes the options from the configuration. */
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

/** A path for copies of databases, under a name that nobody can have taken before. The directory is made when it is needed. */
export function newCopiesDirectory(): string {
  return join(tmpdir(), `postern-query-${randomBytes(12).toString('hex')}`);
}
