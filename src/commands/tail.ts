import { type Command, InvalidArgumentError, Option } from 'commander';
import { withUtc } from './support/times.js';
import type { TailOptions } from './tail/run.js';

export function registerTail(program: Command): void {
  withUtc(program.command('tail').description('Follow the log of events, across rotations'))
    .option('--config <file>', 'configuration file (names the log files)')
    .option('--sink <name>', 'sink of type file, when there are several')
    .option('-n, --lines <number>', 'number of past events to print first', lines, 20)
    .option('--no-follow', 'print past events and exit')
    .option('--action <names...>', 'print only these actions or categories: auth.login_failure, auth')
    .addOption(
      new Option('--outcome <outcome>', 'print only events with this outcome').choices([
        'success',
        'failure',
        'unknown',
      ]),
    )
    .option('--ip <networks...>', 'print only events from these addresses or networks')
    .option('--json', 'print the lines of the file unchanged')
    .addHelpText(
      'after',
      `
Reads the log files, so it needs membership in their group (adm), not root. Characters that are not visible are
escaped, such as \\u202e.

Examples:
  $ postern-auditd tail
  $ postern-auditd tail --action auth --outcome failure --ip 203.0.113.0/24
  $ postern-auditd tail -n 1000 --no-follow --json | jq -r .source.ip | sort | uniq -c`,
    )
    .action(async (options: TailOptions) => {
      const { runTail } = await import('./tail/run.js');
      await runTail(options);
    });
}

function lines(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
