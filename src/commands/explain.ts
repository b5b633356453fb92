import { type Command, Option } from 'commander';
import type { ExplainOptions } from './explain/run.js';
import { withUtc } from './support/times.js';

export function registerExplain(program: Command): void {
  withUtc(
    program
      .command('explain')
      .description(
        'one event: its row, what it becomes, which sinks take it, whether fail2ban counts it, and why',
      ),
  )
    .argument('<id>', 'postern:4711, auditd:3, or just 4711 for a row of Postern')
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--json', 'as JSON, for programs')
    .addOption(
      new Option('--format <format>', 'print only the bytes that the event becomes in this format').choices([
        'ecs',
        'cef',
        'leef',
        'ocsf',
        'text',
      ]),
    )
    .addHelpText(
      'after',
      `
Reads the row from the table as it is now, and changes nothing. The filter is tried with fail2ban's own
fail2ban-regex where that is installed.

Exit codes: 0 explained, 1 there is no such row, or the table can't be read.

Examples:
  $ sudo postern-auditd explain 4711
  $ sudo postern-auditd explain auditd:3 --json
  $ sudo postern-auditd explain 4711 --format ecs | jq .`,
    )
    .action(async (id: string, options: ExplainOptions) => {
      const { playExplain } = await import('./explain/run.js');
      await playExplain(id, options);
    });
}
