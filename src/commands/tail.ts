import { type Command, InvalidArgumentError, Option } from 'commander';
import { withUtc } from './support/times.js';
import type { TailOptions } from './tail/run.js';

export function registerTail(program: Command): void {
  withUtc(program.command('tail').description('follow the log of events, across rolls'))
    .option('--config <file>', 'configuration file (names the log files)')
    .option('--sink <name>', 'which sink of type file, if there are several')
    .option('-n, --lines <number>', 'how many of the last events to begin with', lines, 20)
    .option('--no-follow', 'print these and end')
    .option('--action <names...>', 'only these actions or categories: auth.login_failure, auth')
    .addOption(
      new Option('--outcome <outcome>', 'only this outcome').choices(['success', 'failure', 'unknown']),
    )
    .option('--ip <networks...>', 'only from these addresses or networks')
    .option('--json', 'the lines as they are in the file')
    .addHelpText(
      'after',
      `
Reads the files, not the daemon: it needs no root, only membership in the files' group (adm). What is not plainly
visible in names that strangers chose is written out, as in \\u202e.

Examples:
  $ postern-auditd tail
  $ postern-auditd tail --action auth --outcome failure --ip 203.0.113.0/24
  $ postern-auditd tail -n 1000 --no-follow --json | jq -r .source.ip | sort | uniq -c`,
    )
    .action(async (options: TailOptions) => {
      const { playTail } = await import('./tail/run.js');
      await playTail(options);
    });
}

function lines(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
