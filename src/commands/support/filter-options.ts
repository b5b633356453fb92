import type { Command } from 'commander';
import { AuditdError } from '../../errors.js';
import type { Filter } from '../../query/filter.js';
import { escapeUnsafe } from './terminal.js';

export interface FilterOptions {
  readonly config?: string;
  readonly resourceType?: string;
  readonly action?: string;
  readonly user?: string;
  readonly from?: string;
  readonly to?: string;
  readonly server?: string;
  readonly ip?: string;
  readonly outcome?: string;
  readonly source?: string;
  readonly q?: string;
  readonly archives?: boolean;
  readonly allowMissing?: boolean;
}

/** Adds the options of a filter to a command. */
export function withFilter(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (names the database)')
    .option('--resource-type <type>', 'type of the object, such as proxy_host (also matches proxy-host)')
    .option('--action <name>', 'action, by its canonical name (auth.login_failure) or as the row has it')
    .option('--user <who>', 'user who acted: id, name or e-mail address')
    .option('--from <time>', 'first time, included: 2026-11-22, 2026-11-22T20:21:00Z or -7d')
    .option('--to <time>', 'last time, excluded, in the same forms')
    .option('--server <name>', 'name of the server where it happened')
    .option('--ip <address>', 'address of the client, or a network: 203.0.113.0/24')
    .option('--outcome <outcome>', 'success, failure or unknown')
    .option('--source <source>', "postern, or auditd for the daemon's own events")
    .option('--q <text>', 'text in the details; reads every row that the other filters match')
    .option('--archives', 'search archived rows too (default)')
    .option('--no-archives', 'search the table only')
    .option('--allow-missing', 'continue without missing archives, and report them');
}

/** Loads the filter's schema when a command runs, not for its help. */
export async function filterFromOptions(options: FilterOptions, now: number): Promise<Filter> {
  const { parseFilter } = await import('../../query/filter.js');
  const { resourceType, action, user, from, to, server, ip, outcome, source, q } = options;
  const archives = options.archives === false ? 'false' : 'true';
  const missing = { allow_missing: options.allowMissing === true ? 'true' : undefined };
  const parts = { resource_type: resourceType, action, user, from, to, server, ip, outcome, source, q };
  return parseFilter({ ...parts, ...missing, archives }, now);
}

/** Prints the likely reason for an empty result. */
export function printNote(note: string): void {
  process.stderr.write(`postern-auditd: ${escapeUnsafe(note)}\n`);
}

/** Parses a whole number. @throws AuditdError `USAGE` */
export function numberOf(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1)
    throw new AuditdError('USAGE', `${name}: found ${JSON.stringify(text)}`, {
      next: 'Give a whole number from 1',
    });
  return Number(text);
}
