import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AuditdError } from '../../errors.js';
import type { Manifest } from '../../retention/archive/manifest.js';

/** What all sub-commands of `archive` take. */
export interface PlaceOptions {
  readonly config?: string;
  readonly directory?: string;
}

/** Which archives are meant. */
export interface ChoiceOptions extends PlaceOptions {
  readonly source?: string;
  readonly timeline?: string;
}

export function withPlace(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (names the directory)')
    .option('--directory <directory>', 'directory of the archives, where it is another one');
}

export function withChoice(command: Command): Command {
  return withPlace(
    command.argument('[archive...]', 'which ones, by number: 42 or 40-42; default: all of the source'),
  )
    .option('--source <source>', "postern, or auditd for the daemon's own events", 'postern')
    .option('--timeline <number>', 'only those of this history of the database');
}

/** The directory that the configuration names, or the option. @throws AuditdError `NOT_FOUND` if it was named here and is not there */
export async function directoryOf(options: PlaceOptions): Promise<string> {
  const { loadConfig } = await import('../../config/load.js');
  if (options.directory !== undefined) return namedDirectory(options.directory);
  return loadConfig(options.config ?? null, process.env).config.retention.archive.directory;
}

/** Without this a mistyped name would be a directory without archives, of which nothing is wrong. */
function namedDirectory(name: string): string {
  const directory = resolve(name);
  if (existsSync(directory)) return directory;
  throw new AuditdError(
    'NOT_FOUND',
    `${directory} is not there, or this user may not look. Give the directory of archives`,
  );
}

/** @throws AuditdError `USAGE`, `NOT_FOUND` */
export function choose(
  archives: readonly Manifest[],
  wanted: readonly string[],
  { source, timeline }: ChoiceOptions,
): Manifest[] {
  if (source !== 'postern' && source !== 'auditd')
    throw new AuditdError('USAGE', `source: found ${JSON.stringify(source)}. Give one of postern, auditd`);
  if (timeline !== undefined && !/^[1-9]\d{0,11}$/.test(timeline))
    throw new AuditdError(
      'USAGE',
      `timeline: found ${JSON.stringify(timeline)}. Give the number of a history, such as 1 (archive list shows it)`,
    );
  const of = archives.filter(
    (archive) =>
      archive.source === source && (timeline === undefined || archive.timeline === Number(timeline)),
  );
  if (wanted.length === 0) return of;
  const ranges = wanted.map(rangeOf);
  for (const { from, to, text } of ranges) {
    if (!of.some(({ sequence }) => sequence >= from && sequence <= to))
      throw new AuditdError('NOT_FOUND', `There is no archive ${text} of source ${source}. See archive list`);
  }
  return of.filter(({ sequence }) => ranges.some(({ from, to }) => sequence >= from && sequence <= to));
}

function rangeOf(text: string): { from: number; to: number; text: string } {
  const [, from, to = from] = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(text) ?? [];
  if (from === undefined || Number(to) < Number(from))
    throw new AuditdError(
      'USAGE',
      `archive: found ${JSON.stringify(text)}. Give a number such as 42, or 40-42`,
    );
  return { from: Number(from), to: Number(to), text };
}
