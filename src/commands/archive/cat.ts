import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import { codeOf } from '../../errors.js';
import { roomIn } from '../support/guard-stdout.js';
import { reportAction } from '../support/report-to-daemon.js';
import { type ChoiceOptions, chosenOf, MOST_NAMED, withChoice } from './select-archives.js';

export function registerArchiveCat(archive: Command): void {
  withChoice(archive.command('cat').description('Print archived rows unchanged, one line of JSON each'))
    .option('--lines', 'print the lines of the archive, with event_id and the parsed time')
    .addHelpText(
      'after',
      `
Columns have their names and values in the table, including secrets. Values that JSON can't express are wrapped, see
docs/guide/ARCHIVES.md.

Examples:
  $ postern-auditd archive cat 42 | jq -r .user_email | sort | uniq -c
  $ postern-auditd archive cat --lines 40-42 >rows.ndjson`,
    )
    .action(async (wanted: string[], options: ChoiceOptions & { lines?: boolean }) => {
      const [{ loadConfig }, { archiveRecordOf }, { readLines }] = await Promise.all([
        import('../../config/load.js'),
        import('../../retention/archive/recorded-heads.js'),
        import('../../retention/archive/read.js'),
      ]);
      const { directory, archives, incomplete } = await chosenOf(wanted, options);
      const hash = createHash('sha256');
      let rows = 0;
      let closed = false;
      process.stdout.on('error', (error: Error) => {
        if (codeOf(error) !== 'EPIPE') throw error;
        closed = true; // the reader has closed the pipe
      });
      const print = async () => {
        for (const manifest of archives) {
          for (const lines of readLines(directory, manifest)) {
            const text = `${(options.lines === true ? lines : lines.map(rowIn)).join('\n')}\n`;
            if (closed) return;
            hash.update(text);
            rows += lines.length;
            if (!process.stdout.write(text)) await roomIn(process.stdout);
          }
        }
      };
      try {
        await print();
      } finally {
        if (rows > 0)
          await reportAction(loadConfig(options.config ?? null, process.env).config, {
            action: 'daemon.export',
            details: {
              directory,
              // Not `archives`: that member records the end of this host's chain, and these may be of another.
              exported_from: archives.slice(0, MOST_NAMED).map(archiveRecordOf),
              archives_count: archives.length,
              format: options.lines === true ? 'lines' : 'rows',
              count: rows,
              sha256: hash.digest('hex'),
              complete: !closed && rows === archives.reduce((sum, { count }) => sum + count, 0),
            },
          });
      }
      if (incomplete !== null) process.stderr.write(`INCOMPLETE: ${incomplete}\n`);
    });
}

const ROW = ',"row":';

/** The row alone. The text before it is our own, so the first match is the right one. */
function rowIn(line: string): string {
  return line.slice(line.indexOf(ROW) + ROW.length, -1);
}
