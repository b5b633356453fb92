import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AuditdError } from '../../errors.js';
import type { ArchiveChain, Range } from '../../retention/archive/complete-chain.js';
import type { Manifest } from '../../retention/archive/manifest.js';

/** Options of all subcommands of `archive`. */
export interface PlaceOptions {
  readonly config?: string;
  readonly directory?: string;
}

/** Options that select archives. */
export interface ChoiceOptions extends PlaceOptions {
  readonly source?: string;
  readonly timeline?: string;
  readonly allowMissing?: boolean;
}

/** At most this many archives are named in one event. */
export const MOST_NAMED = 100;

export function withPlace(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (names the directory)')
    .option('--directory <directory>', 'directory of the archives; default: retention.archive.directory');
}

export function withChoice(command: Command): Command {
  return withPlace(
    command.argument('[archive...]', 'archives by number: 42 or 40-42; default: all of the source'),
  )
    .option('--source <source>', "postern, or auditd for the daemon's own events", 'postern')
    .option('--timeline <number>', 'only archives of this history of the database')
    .option('--allow-missing', 'continue without missing archives, and report them');
}

/** The directory that the configuration names, or the option. @throws AuditdError `NOT_FOUND` if it was named here and is not there */
export async function directoryOf(options: PlaceOptions): Promise<string> {
  const { loadConfig } = await import('../../config/load.js');
  if (options.directory !== undefined) return namedDirectory(options.directory);
  return loadConfig(options.config ?? null, process.env).config.retention.archive.directory;
}

/** A mistyped name would otherwise pass as a directory without archives. */
function namedDirectory(name: string): string {
  const directory = resolve(name);
  if (existsSync(directory)) return directory;
  throw new AuditdError('NOT_FOUND', `${directory} does not exist, or this user may not see it`, {
    next: 'Give the directory of the archives',
  });
}

export interface Chosen {
  readonly directory: string;
  readonly archives: readonly Manifest[];
  /** Says what is left out; null if nothing is. */
  readonly incomplete: string | null;
}

/**
 * Checks the chain and selects archives. An archive that is not linked to the one before it is an error, and so is a missing one without
 * `--allow-missing`.
 *
 * @throws AuditdError `ARCHIVE_FAILED` if one is missing, `ARCHIVE_BROKEN`, `USAGE`, `NOT_FOUND`
 */
export async function chosenOf(wanted: readonly string[], options: ChoiceOptions): Promise<Chosen> {
  const { incomplete, missingText } = await import('../../retention/archive/complete-chain.js');
  const { directory, archives, ...rest } = await chainOf(options);
  const ranges = wanted.map(rangeOf);
  const isMeant = (one: Range) =>
    ranges.length === 0 || ranges.some(({ from, to }) => one.from <= to && one.to >= from);
  const missing = rest.missing.filter(isMeant);
  const words = missingText(directory, {
    ...rest,
    missing,
    elsewhere: ranges.length === 0 ? rest.elsewhere : null,
  });
  if (words !== null && options.allowMissing !== true)
    throw incomplete(words, 'give --allow-missing to continue without them');
  return { directory, archives: choose(archives, wanted, options), incomplete: words };
}

/** A directory given as an option is a copy: this host's records and its signing key do not apply to it. */
export async function chainOf(options: PlaceOptions): Promise<ArchiveChain & { readonly directory: string }> {
  const [{ ChainReader }, { NOTHING_RECORDED, RecordedReader }] = await Promise.all([
    import('../../retention/archive/complete-chain.js'),
    import('../../retention/recorded-archives.js'),
  ]);
  if (options.directory !== undefined) {
    const directory = namedDirectory(options.directory);
    return { directory, ...new ChainReader(directory).read() };
  }
  const [{ loadConfig }, { openStateReader }, { signingKey }] = await Promise.all([
    import('../../config/load.js'),
    import('../support/state-reader.js'),
    import('../../retention/archive/signing-key.js'),
  ]);
  const { config } = loadConfig(options.config ?? null, process.env);
  const { directory, sign } = config.retention.archive;
  const chain = new ChainReader(directory, () => (sign === null ? null : signingKey(sign)));
  const ledger = openStateReader(config.state);
  if ('why' in ledger) {
    process.stderr.write(`note: ${ledger.why}. Missing archives can't be detected without it\n`);
    return { directory, ...chain.read(NOTHING_RECORDED) };
  }
  try {
    return { directory, ...chain.read(new RecordedReader().read(ledger.db)) };
  } finally {
    ledger.close();
  }
}

/** @throws AuditdError `USAGE`, `NOT_FOUND` */
function choose(
  archives: readonly Manifest[],
  wanted: readonly string[],
  { source, timeline }: ChoiceOptions,
): Manifest[] {
  if (source !== 'postern' && source !== 'auditd')
    throw new AuditdError('USAGE', `--source: found ${JSON.stringify(source)}`, {
      next: 'Give postern or auditd',
    });
  if (timeline !== undefined && !/^[1-9]\d{0,11}$/.test(timeline))
    throw new AuditdError('USAGE', `--timeline: found ${JSON.stringify(timeline)}`, {
      next: 'Give the number of a history, such as 1 (archive list shows it)',
    });
  const of = archives.filter(
    (archive) =>
      archive.source === source && (timeline === undefined || archive.timeline === Number(timeline)),
  );
  if (wanted.length === 0) return of;
  const ranges = wanted.map(rangeOf);
  for (const { from, to, text } of ranges) {
    if (!of.some(({ sequence }) => sequence >= from && sequence <= to))
      throw new AuditdError('NOT_FOUND', `There is no archive ${text} of source ${source}`, {
        next: 'See postern-auditd archive list',
      });
  }
  return of.filter(({ sequence }) => ranges.some(({ from, to }) => sequence >= from && sequence <= to));
}

function rangeOf(text: string): { from: number; to: number; text: string } {
  const [, from, to = from] = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(text) ?? [];
  if (from === undefined || Number(to) < Number(from))
    throw new AuditdError('USAGE', `archive: found ${JSON.stringify(text)}`, {
      next: 'Give a number such as 42, or 40-42',
    });
  return { from: Number(from), to: Number(to), text };
}
