import { existsSync, readdirSync } from 'node:fs';
import { AuditdError } from './errors.js';

/*
 * Several databases on one host: each further one has an instance of the daemon, postern-auditd@NAME. All its places are those of the
 * first with @NAME behind their first part: /etc/postern-auditd@NAME/config.yml, /var/log/posternproxy@NAME/audit.
 */

/** Short enough for a jail postern-NAME, whose name iptables limits. */
const NAME = /^[a-z](?:[a-z0-9-]{0,10}[a-z0-9])?$/;

/** Set by the unit, and by --instance. */
const VARIABLE = 'POSTERN_AUDITD_INSTANCE';

/** The instance that this process is or asks about; null for the first database. */
export function instance(env: NodeJS.ProcessEnv = process.env): string | null {
  const name = env[VARIABLE] ?? '';
  return NAME.test(name) ? name : null;
}

/** `@NAME`, or nothing: what is behind a name of a unit or a directory. */
export function atInstance(env: NodeJS.ProcessEnv = process.env): string {
  const name = instance(env);
  return name === null ? '' : `@${name}`;
}

/** The configuration of an instance; null: of the first database. */
export function configOf(name: string | null): string {
  return `/etc/postern-auditd${name === null ? '' : `@${name}`}/config.yml`;
}

/** The instances that are set up on this host, sorted. */
export function instancesOf(directory = '/etc'): string[] {
  try {
    return readdirSync(directory)
      .flatMap((entry) => /^postern-auditd@(.+)$/.exec(entry)?.[1] ?? [])
      .filter((name) => NAME.test(name) && existsSync(`${directory}/postern-auditd@${name}/config.yml`))
      .sort();
  } catch {
    return [];
  }
}

/**
 * Lets this process ask about an instance.
 *
 * @param mayBeNew whether it need not be set up yet
 * @throws AuditdError `USAGE` for a name that none can have, `CONFIG_MISSING`
 */
export function useInstance(name: string, mayBeNew: boolean): void {
  if (!NAME.test(name))
    throw new AuditdError('USAGE', `${JSON.stringify(name)} can't be the name of an instance`, {
      next: 'Give up to 12 lower-case letters, digits and dashes; the first is a letter, the last none of the dashes',
    });
  const config = configOf(name);
  if (!mayBeNew && !existsSync(config)) {
    const known = instancesOf();
    throw new AuditdError('CONFIG_MISSING', `There is no instance ${name}: ${config} does not exist`, {
      next: `${known.length === 0 ? 'No instance is set up here' : `Set up here: ${known.join(', ')}`}; docs/guide/INSTALL.md describes how to add one`,
    });
  }
  process.env[VARIABLE] = name;
  process.env.POSTERN_AUDITD_CONFIG = config;
}

/** For a command that names the configuration of an instance by its path. */
export function instanceOfConfig(path: string): string | null {
  const name = /^\/etc\/postern-auditd@([^/]+)\/config\.yml$/.exec(path)?.[1];
  return name !== undefined && NAME.test(name) ? name : null;
}
