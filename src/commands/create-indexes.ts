import type { Command } from 'commander';
import type { Config } from '../config/schema.js';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { groupedDigits } from '../grouped-digits.js';
import type { IndexPlan } from '../query/plan/indexes.js';
import { SILENT_LOG } from '../silent-log.js';
import { removeAtEnd, signalsHeard } from './support/exit-cleanup.js';
import { mustOwn } from './support/require-owner.js';
import { formatCount } from './support/terminal.js';

const BUSY_MS = 5_000;
/** Rows that SQLite sorts into an index in a second, on a slow disk; measured 0.4 to 1.2 million. */
const ROWS_PER_SECOND = 400_000;

export function registerIndexTable(program: Command): void {
  program
    .command('index')
    .description("Add the indexes that queries need to Postern's table")
    .option('--config <file>', 'configuration file (names the database)')
    .option('--yes', 'create the indexes; without this option only print what would be done, and the cost')
    .addHelpText(
      'after',
      `
Writes to Postern's database, so it needs the rights of its owner. Postern can read meanwhile, but its writes wait while
an index is created.

Examples:
  $ sudo postern-auditd index
  $ sudo postern-auditd index --yes`,
    )
    .action(addIndexes);
}

async function addIndexes(options: { config?: string; yes?: boolean }): Promise<void> {
  const { loadConfig } = await import('../config/load.js');
  const { source } = loadConfig(options.config ?? null, process.env).config;
  const plan = await planFor(source);
  process.stdout.write(describe(plan));
  if (plan.missing.length === 0) return;
  if (options.yes !== true) {
    process.stdout.write('Nothing has been changed. To create them: postern-auditd index --yes\n');
    return;
  }
  mustOwn(source.database, 'index --yes');
  await signalsHeard(); // before anything is written
  await createIndexes(source.database, plan);
}

async function planFor(source: Config['source']): Promise<IndexPlan> {
  const [{ missingIndexes }, { newCopiesDirectory }, { DatabaseReader }] = await Promise.all([
    import('../query/plan/indexes.js'),
    import('../query/query-options.js'),
    import('../query/database-reader.js'),
  ]);
  const directory = newCopiesDirectory();
  const remove = removeAtEnd(directory);
  const reader = new DatabaseReader(source.database, directory, SILENT_LOG);
  const plan = reader.read((db) => missingIndexes(db, source));
  reader.close();
  remove();
  return plan;
}

/** Runs as the owner of the database: root would follow links that another user put beside it. */
async function createIndexes(database: string, { missing }: IndexPlan): Promise<void> {
  const [{ default: Database }, { asOwner }] = await Promise.all([
    import('../load-sqlite.js'),
    import('../shipping/as-owner.js'),
  ]);
  try {
    asOwner(database, () => {
      const db = new Database(database, { fileMustExist: true, timeout: BUSY_MS });
      try {
        for (const { name, sql } of missing) {
          const begin = performance.now();
          db.exec(sql);
          process.stdout.write(`${name}: created in ${((performance.now() - begin) / 1_000).toFixed(1)} s\n`);
        }
      } finally {
        db.close();
      }
    });
  } catch (error) {
    const next =
      codeOf(error) === 'SQLITE_BUSY'
        ? 'Try again when Postern has less to do'
        : 'The indexes created before it remain; mend the cause and run the command again';
    throw new AuditdError('SOURCE_UNUSABLE', `An index could not be created: ${messageOf(error)}`, {
      next,
      cause: error,
    });
  }
}

/** The missing indexes and their cost, as text. */
function describe({ table, rows, missing }: IndexPlan): string {
  if (missing.length === 0) return `Table ${table} has every index that queries use.\n`;
  const lines = missing.map(({ name, column, bytes }) => `  ${name} on ${column}, about ${megabytes(bytes)}`);
  const total = missing.reduce((sum, { bytes }) => sum + bytes, 0);
  const each = Math.max(1, Math.ceil(rows / ROWS_PER_SECOND));
  return [
    `Table ${table} (about ${formatCount(rows, 'row')}) lacks ${formatCount(missing.length, 'index', 'indexes')}:`,
    ...lines,
    `They take about ${megabytes(total)} of disk, and as much in the WAL while they are created. Each takes the write lock for`,
    `up to about ${each} s, ${each * missing.length} s in total; Postern's writes wait meanwhile. Afterwards each row takes slightly longer to write.`,
    '',
  ].join('\n');
}

function megabytes(bytes: number): string {
  return `${groupedDigits(Math.max(1, Math.ceil(bytes / 2 ** 20)))} MB`;
}
