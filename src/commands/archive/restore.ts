import { resolve } from 'node:path';
import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { AuditdError } from '../../errors.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Restored } from '../../retention/archive/restore.js';
import { doAtEnd } from '../support/exit-cleanup.js';
import { ProgressBar } from '../support/progress-bar.js';
import { reportAction } from '../support/report-to-daemon.js';
import { mustOwn } from '../support/require-owner.js';
import { formatCount } from '../support/terminal.js';
import { type ChoiceOptions, type Chosen, chosenOf, MOST_NAMED, withChoice } from './select-archives.js';

interface Options extends ChoiceOptions {
  readonly into?: string;
  readonly table?: string;
  readonly json?: boolean;
}

export function registerArchiveRestore(archive: Command): void {
  withChoice(
    archive
      .command('restore')
      .description('Restore archived rows into a new database or a table, all or none'),
  )
    .requiredOption('--into <file>', 'database, new or existing')
    .option('--table <name>', 'table in that database; default: the table of the rows')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Everything is verified before the first row is written. Rows that already exist unchanged are kept. When another row has the same
id, nothing is restored, and the row is named. The next run of retention removes rows again that were restored into Postern's own
table: to read old rows, use query, or restore into a new database. Without --allow-missing a missing archive restores nothing.

Examples:
  $ postern-auditd archive restore --into /tmp/2025.db 1-12
  $ sudo postern-auditd archive restore 42 --into /var/lib/posternproxy/posternproxy.db --table audit_2025`,
    )
    .action(restore);
}

async function restore(wanted: string[], options: Options): Promise<void> {
  if (options.table === '')
    throw new AuditdError('USAGE', '--table: the name is empty', {
      next: 'Give a name, or leave the option out for the table of the rows',
    });
  const chosen = await chosenOf(wanted, options);
  if (chosen.archives.length === 0) throw noArchive(chosen.directory, options);
  const database = resolve(options.into ?? '');
  mustOwn(database, 'archive restore');
  const result = await restoreRows(chosen, database, options);
  await record(chosen, database, result, options);
  const { incomplete } = chosen;
  const { restored, skipped } = result;
  const there = skipped === 0 ? '' : `, ${groupedDigits(skipped)} were there already`;
  process.stdout.write(
    options.json === true
      ? `${toSafeJson(incomplete === null ? result : { ...result, incomplete }, 2)}\n`
      : `${formatCount(restored, 'row')} restored into ${database}${there}\n`,
  );
  if (incomplete !== null) process.stderr.write(`INCOMPLETE: ${incomplete}\n`);
}

function noArchive(directory: string, { source = 'postern', timeline }: Options): AuditdError {
  const history = timeline === undefined ? '' : `, history ${timeline},`;
  return new AuditdError('NOT_FOUND', `There is no archive of source ${source}${history} in ${directory}`, {
    next: 'See postern-auditd archive list',
  });
}

/** All rows or none; Ctrl-C in between leaves none. */
async function restoreRows(
  { directory, archives }: Chosen,
  database: string,
  options: Options,
): Promise<Restored> {
  const [{ restoreInSteps }, { setImmediate: otherWork }] = await Promise.all([
    import('../../retention/archive/restore.js'),
    import('node:timers/promises'),
  ]);
  const total = archives.reduce((sum, one) => sum + one.count, 0);
  const bar = new ProgressBar(options.json === true ? null : process.stderr);
  const steps = restoreInSteps({
    directory,
    archives,
    database,
    table: options.table ?? null,
    onProgress: (rows) => bar.show(rows / total, () => formatCount(rows, 'row')),
  });
  const leaveIt = doAtEnd(() => steps.return({ restored: 0, skipped: 0 }));
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) await otherWork(); // lets a signal arrive
  leaveIt();
  bar.end();
  return step.value;
}

async function record(
  { directory, archives }: Chosen,
  database: string,
  { restored, skipped }: Restored,
  options: Options,
): Promise<void> {
  const [{ loadConfig }, { archiveRecordOf }] = await Promise.all([
    import('../../config/load.js'),
    import('../../retention/archive/recorded-heads.js'),
  ]);
  const { config } = loadConfig(options.config ?? null, process.env);
  await reportAction(config, {
    action: 'daemon.archive_restore',
    details: {
      directory,
      // Not `archives`: that member records the end of this host's chain, and these may be of another.
      restored_from: archives.slice(0, MOST_NAMED).map(archiveRecordOf),
      archives_count: archives.length,
      database,
      table: options.table ?? null,
      restored,
      skipped,
    },
  });
}
