import type { Command } from 'commander';
import { codeOf } from '../../errors.js';
import { roomIn } from '../stdout.js';
import { type ChoiceOptions, chosenOf, withChoice } from './choose.js';

export function register(archive: Command): void {
  withChoice(archive.command('cat').description('print archived rows as they were, a line of JSON each'))
    .option('--lines', 'the lines of the archive, with event_id and the time as it was read')
    .addHelpText(
      'after',
      `
Columns have the names and values that they had in the table, secrets included. What JSON can't tell apart is wrapped: docs/ARCHIVES.md.

Examples:
  $ postern-auditd archive cat 42 | jq -r .user_email | sort | uniq -c
  $ postern-auditd archive cat --lines 40-42 >rows.ndjson`,
    )
    .action(async (wanted: string[], options: ChoiceOptions & { lines?: boolean }) => {
      const { readLines } = await import('../../retention/archive/read.js');
      const { directory, archives, incomplete } = await chosenOf(wanted, options);
      let closed = false;
      process.stdout.on('error', (error: Error) => {
        if (codeOf(error) !== 'EPIPE') throw error;
        closed = true; // who reads has seen enough
      });
      for (const manifest of archives) {
        for (const lines of readLines(directory, manifest)) {
          const shown = options.lines === true ? lines : lines.map(rowIn);
          if (closed) return;
          if (process.stdout.write(`${shown.join('\n')}\n`)) continue;
          await roomIn(process.stdout);
        }
      }
      if (incomplete !== null) process.stderr.write(`INCOMPLETE: ${incomplete}\n`);
    });
}

const ROW = ',"row":';

/** The row alone; what stands before it holds no text of strangers. */
function rowIn(line: string): string {
  return line.slice(line.indexOf(ROW) + ROW.length, -1);
}
