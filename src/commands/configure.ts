import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { AuditdError, messageOf } from '../errors.js';

interface ConfigureOptions {
  readonly config?: string;
  readonly database?: string;
  readonly neverBan?: readonly string[];
  readonly banaction?: string;
  readonly fail2ban?: boolean;
  readonly dryRun?: boolean;
}

export function registerConfigure(program: Command): void {
  program
    .command('configure')
    .description('Change keys in the configuration file, and keep its comments and everything else')
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--database <file>', "Postern's database")
    .option('--never-ban <networks...>', 'addresses and networks that fail2ban must never ban')
    .option('--banaction <name>', "fail2ban's action that bans")
    .option('--fail2ban', 'enable bans (fail2ban.enabled)')
    .option('--no-fail2ban', 'disable bans')
    .option('--dry-run', 'print the changes without making them')
    .addHelpText(
      'after',
      `
Prints one line per change. Then run systemctl reload postern-auditd for the daemon, and postern-auditd setup for
fail2ban's jail.

Examples:
  $ postern-auditd configure --never-ban 198.51.100.7 2001:db8:17::/48
  $ postern-auditd configure --database /srv/postern/posternproxy.db`,
    )
    .action(async (options: ConfigureOptions) => {
      const [{ editConfig }, { DEFAULT_PATH }] = await Promise.all([
        import('../config/edit-file.js'),
        import('../config/load.js'),
      ]);
      const file = options.config ?? process.env.POSTERN_AUDITD_CONFIG ?? DEFAULT_PATH;
      const { database, neverBan, banaction, fail2ban } = options;
      const edits = {
        ...(database && { database }),
        ...(neverBan && { neverBan }),
        ...(banaction && { banaction }),
        ...(fail2ban !== undefined && { fail2ban }),
      };
      const { text, changes } = editConfig(read(file), edits, file);
      for (const change of changes) process.stdout.write(`${change}\n`);
      if (changes.length === 0 || options.dryRun === true) return;
      // Beside it and renamed over it: a reader finds the old file or the new one.
      const fresh = `${file}.new`;
      writeFileSync(fresh, text, { mode: statSync(file).mode & 0o777 });
      renameSync(fresh, file);
    });
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new AuditdError('CONFIG_MISSING', `${file} can't be read (${messageOf(error)})`, {
      next: 'Name the configuration file with --config',
      cause: error,
    });
  }
}
