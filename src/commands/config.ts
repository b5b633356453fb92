import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';

interface ConfigOptions {
  readonly config?: string;
  readonly check?: string;
  readonly json?: boolean;
}

export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('Print the configuration in effect, with all defaults')
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--check <file>', 'only check a file, and list every problem with its line and column')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The output is a valid configuration file. docs/reference/CONFIGURATION.md explains every key.

Exit codes: 0 the configuration is valid, 78 it is invalid or missing.

Examples:
  $ postern-auditd config
  $ postern-auditd config --check ./config.yml && sudo systemctl reload postern-auditd
  $ postern-auditd config --json | jq .fail2ban.never_ban`,
    )
    .action(async (options: ConfigOptions) => {
      const { loadConfig } = await import('../config/load.js');
      const { config, path } = loadConfig(options.check ?? options.config ?? null, process.env);
      if (options.check !== undefined) {
        process.stdout.write(`${options.check} is valid\n`);
        return;
      }
      const { formatConfig, toUserForm } = await import('../config/serialize.js');
      if (options.json === true) process.stdout.write(`${toSafeJson(toUserForm(config), 2)}\n`);
      else process.stdout.write(`# ${path ?? 'the defaults; there is no file'}\n${formatConfig(config)}`);
    });
}
