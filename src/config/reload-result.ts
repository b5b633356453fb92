import { AuditdError, messageOf } from '../errors.js';
import type { ConfigChange } from './config-diff.js';

/** A configuration that a reload has rejected: a restart would fail. */
export interface RefusedConfig {
  /** Ms since the epoch. */
  readonly at: number;
  /** The first problem, `config.yml:12:3: …`. */
  readonly message: string;
}

/** The result of a reload. */
export interface Reloaded {
  readonly changed: readonly string[];
  /** The changed keys that need a restart. */
  readonly restart: readonly string[];
  /** True if the jail depends on a changed key: a setup rewrites it. */
  readonly jail: boolean;
}

/** A short form for a line of status: the first problem, with the base name of the file. */
export function refusalOf(error: unknown, at: number): RefusedConfig {
  const [first, ...more] = error instanceof AuditdError ? error.problems : [];
  const message = first === undefined ? messageOf(error) : first.replace(/^\/\S*\//, '');
  return { at, message: more.length === 0 ? message : `${message} (and ${more.length} more)` };
}

export function reloadedOf(changes: readonly ConfigChange[]): Reloaded {
  return {
    changed: changes.map(({ key }) => key),
    restart: changes.filter(({ restart }) => restart).map(({ key }) => key),
    jail: changes.some(({ jail }) => jail),
  };
}
