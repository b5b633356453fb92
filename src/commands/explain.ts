import { type Command, Option } from 'commander';
import type { ExplainOptions } from './explain/run.js';
import { withUtc } from './support/times.js';

export function registerExplain(program: Command): void {
  withUtc(
    program
      .command('explain')
      .description(
        'Explain one event: its row, its formats, the sinks that accept it, whether fail2ban counts it, and why',
      ),
  )
    .argument('<id>', 'postern:4711, auditd:3, or just 4711 for a row of Postern')
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--json', 'print JSON')
    .addOption(
      new Option('--format <format>', 'print only the event in this format, byte by byte').choices([
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
Reads the current row from the table, and changes nothing. The filter is tried with fail2ban-regex when that is
installed.

Exit codes: 0 the event was found, 1 there is no such row, or the table can't be read.

Examples:
  $ sudo postern-auditd explain 4711
  $ sudo postern-auditd explain auditd:3 --json
  $ sudo postern-auditd explain 4711 --format ecs | jq .`,
    )
    .action(async (id: string, options: ExplainOptions) => {
      const { runExplain } = await import('./explain/run.js');
      await runExplain(id, options);
    });
}
