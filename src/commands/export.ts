import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, realpathSync, statSync } from 'node:fs';
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { measureChunks, type Passed } from '../api/http/measured-chunks.js';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import type { QueryChunk } from '../query/service.js';
import { type Beside, describerOf, type ManifestOptions } from './export/manifest.js';
import { registerExportVerify as verify } from './export/verify.js';
import { removeAtEnd } from './support/exit-cleanup.js';
import { type FilterOptions, filterFromOptions, printNote, withFilter } from './support/filter-options.js';
import { roomIn } from './support/guard-stdout.js';
import { ProgressBar } from './support/progress-bar.js';
import { reportAction } from './support/report-to-daemon.js';
import { formatCount } from './support/terminal.js';
import { withQueries } from './support/with-queries.js';

interface Options extends FilterOptions, ManifestOptions {
  readonly csv?: boolean;
  readonly ndjson?: boolean;
}

export function registerExport(program: Command): void {
  const command = withFilter(
    program.command('export').description('Export all matching entries, newest first'),
  )
    .option('-o, --output <file>', 'file to write, completely or not at all; default: standard output')
    .option(
      '--csv',
      'print CSV that is safe to open in a spreadsheet (default for a file name that ends in .csv)',
    )
    .option('--ndjson', 'write one line of JSON per entry (default)')
    .option('--manifest', 'also write FILE.manifest.json: counts, ids and gaps, the filter, SHA-256')
    .option(
      '--sign <file>',
      'private key (PEM, ed25519) that signs the manifest; default: retention.archive.sign',
    )
    .option('--no-sign', 'leave the manifest unsigned')
    .addHelpText(
      'after',
      `
Postern continues to write meanwhile; those rows are not in the export. Archived rows are. A missing archive is an error; with
--allow-missing the export continues, and its last line names what is missing.

Examples:
  $ postern-auditd export --from 2026-01-01 --to 2026-02-01 -o january.csv
  $ postern-auditd export --manifest -o audit.ndjson && postern-auditd export verify audit.ndjson
  $ postern-auditd export --action auth.login_failure | jq -r .ip_address | sort | uniq -c`,
    )
    .action(exportEntries);
  verify(command);
}

async function exportEntries(options: Options): Promise<void> {
  if (options.csv === true && options.ndjson === true)
    throw new AuditdError('USAGE', '--csv and --ndjson exclude each other', { next: 'Give one of them' });
  const filter = await filterFromOptions(options, Date.now());
  const { output } = options;
  const isCsv = options.csv === true || (options.ndjson !== true && output?.endsWith('.csv') === true);
  const format = isCsv ? 'csv' : 'ndjson';
  const describe = await describerOf(options);
  const at = Date.now();
  const progress = new ExportProgress(output !== undefined || !process.stdout.isTTY ? process.stderr : null);
  let passed: Passed | null = null;
  try {
    await withQueries(options.config, async (queries) => {
      const chunks = (fd?: number) =>
        progress.over(queries.stream(filter, format, fd === undefined ? {} : { fd }));
      if (output === undefined) passed = await toStdout(chunks());
      else
        await toFile(output, chunks, async (file, name) =>
          describe === null
            ? new Map()
            : describe(file, { file: name, format, filter, at, rows: progress.rows }),
        );
    });
  } finally {
    progress.end();
  }
  const { loadConfig } = await import('../config/load.js');
  const { config } = loadConfig(options.config ?? null, process.env);
  const what = passed ?? { ...(await digestOf(output ?? '')), count: progress.rows, complete: true };
  const file = output === undefined ? null : resolve(output);
  await reportAction(config, {
    action: 'daemon.export',
    details: { file, filter: givenOf(filter), format, ...what },
  });
  if (output !== undefined)
    process.stderr.write(`${formatCount(progress.rows, 'entry', 'entries')} in ${output}\n`);
  if (progress.rows === 0) {
    const { noteOf } = await import('../query/unknown-names.js');
    const { note } = noteOf(filter, config.source.aliases);
    if (note !== undefined) printNote(note);
  }
  if (progress.incomplete !== null) process.stderr.write(`INCOMPLETE: ${progress.incomplete}\n`);
}

/** Stops without an error when the reader closes the pipe (`| head`). */
async function toStdout(chunks: AsyncIterable<QueryChunk>): Promise<Passed | null> {
  let closed = false;
  let passed: Passed | null = null;
  const onError = (error: Error) => {
    if (codeOf(error) !== 'EPIPE') throw error;
    closed = true;
  };
  process.stdout.on('error', onError);
  const measured = measureChunks(chunks, (all) => {
    passed = all;
  });
  for await (const { bytes } of measured) {
    if (closed) break;
    if (process.stdout.write(bytes)) continue;
    await roomIn(process.stdout);
  }
  return passed;
}

/**
 * Writes under a temporary name first, so that a partial export is never mistaken for a complete one. The manifest is renamed before the
 * file, so that a file never lacks its manifest.
 *
 * @param besides makes the files that go beside this one, which it can read
 */
async function toFile(
  path: string,
  chunksTo: (fd: number) => AsyncIterable<QueryChunk>,
  besides: (file: FileHandle, name: string) => Promise<Beside>,
): Promise<void> {
  const target = targetOf(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}`);
  const removals = [removeAtEnd(temporary)];
  let file: FileHandle | null = null;
  let isOpen = false;
  try {
    file = await open(temporary, 'wx+', 0o600);
    isOpen = true;
    for await (const _ of chunksTo(file.fd));
    await file.sync();
    const beside = await besides(file, basename(target));
    await file.close();
    file = null;
    for (const [suffix, bytes] of beside) {
      targetOf(`${target}${suffix}`);
      if (bytes === null) continue;
      removals.push(removeAtEnd(`${temporary}${suffix}`));
      await writeFile(`${temporary}${suffix}`, bytes, { flag: 'wx', mode: 0o600, flush: true });
    }
    for (const [suffix, bytes] of beside) {
      if (bytes === null) await rm(`${target}${suffix}`, { force: true });
      else await rename(`${temporary}${suffix}`, `${target}${suffix}`);
    }
    await rename(temporary, target);
  } catch (error) {
    await file?.close().catch(() => undefined);
    if (error instanceof AuditdError) throw error;
    throw new AuditdError(
      isOpen ? 'OUTPUT_FAILED' : 'USAGE', // a full disk is not a mistake in the command line
      `${path} can't be written: ${messageOf(error)}`,
      { next: 'Name another file with -o', cause: error },
    );
  } finally {
    for (const remove of removals) remove(); // does nothing after the rename
  }
}

/** Only the members that were given. */
function givenOf(filter: object): object {
  return Object.fromEntries(
    Object.entries(filter).filter(([, value]) => value !== null && value !== undefined),
  );
}

async function digestOf(path: string): Promise<Pick<Passed, 'bytes' | 'sha256'>> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** The path to replace, behind a link. Not a device or a pipe: root would replace /dev/stdout. */
function targetOf(path: string): string {
  let isFile: boolean;
  try {
    isFile = statSync(path).isFile();
  } catch {
    return path; // does not exist, or opening it reports the reason
  }
  if (isFile) return realpathSync(path);
  throw new AuditdError('USAGE', `${path} is not a regular file`, {
    next: 'Leave -o out to write to standard output',
  });
}

/** Counts the entries, and shows the progress. */
class ExportProgress {
  rows = 0;
  incomplete: string | null = null;
  private readonly bar: ProgressBar;

  constructor(stream: NodeJS.WriteStream | null) {
    this.bar = new ProgressBar(stream);
  }

  async *over(chunks: AsyncIterable<QueryChunk>): AsyncGenerator<QueryChunk, void> {
    for await (const chunk of chunks) {
      yield chunk;
      this.rows += chunk.rows;
      this.incomplete ??= chunk.incomplete ?? null;
      this.bar.show(chunk.progress, () => formatCount(this.rows, 'entry', 'entries'));
    }
  }

  end(): void {
    this.bar.end();
  }
}
