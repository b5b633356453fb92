import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Manifest } from '../../retention/archive/manifest.js';
import {
  aligned,
  createPaint,
  formatBytes,
  formatCount,
  type Paint,
  wantsColour,
} from '../support/terminal.js';
import { shownTime, type Times, timesFor, type UtcOption, withUtc } from '../support/times.js';
import { chainOf, directoryOf, type PlaceOptions, withPlace } from './select-archives.js';

export function registerArchiveList(archive: Command): void {
  withUtc(withPlace(archive.command('list').description('List the archives, oldest first')))
    .option('--json', 'print the manifests as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ postern-auditd archive list
  $ postern-auditd archive list --json | jq '.[] | select(.time.last < "2026") | .file'`,
    )
    .action(async (options: PlaceOptions & UtcOption & { json?: boolean }) => {
      const [{ listArchives }, { missingText }] = await Promise.all([
        import('../../retention/archive/list.js'),
        import('../../retention/archive/complete-chain.js'),
      ]);
      const directory = await directoryOf(options);
      const archives = listArchives(directory);
      process.stdout.write(
        options.json === true
          ? `${toSafeJson(archives, 2)}\n`
          : renderList(
              archives,
              createPaint(wantsColour(process.stdout, process.env)),
              timesFor(process.stdout, options),
            ),
      );
      const words = missingText(directory, await chainOf(options));
      if (words !== null) process.stderr.write(`INCOMPLETE: ${words}\n`);
    });
}

const HEADINGS = ['NO', 'MONTH', 'SOURCE', 'ROWS', 'IDS', 'FROM', 'TO', 'SIZE', 'SIGNED', 'FILE'];

/** The archives as text. */
function renderList(archives: readonly Manifest[], paint: Paint, times: Times): string {
  if (archives.length === 0) return 'No archives.\n';
  const rows = archives.map((one) => [
    String(one.sequence),
    one.month,
    one.timeline === 1 ? one.source : `${one.source} (history ${one.timeline})`,
    groupedDigits(one.count),
    `${one.ids.first}-${one.ids.last}`,
    shownTime(one.time?.first ?? null, times),
    shownTime(one.time?.last ?? null, times),
    formatBytes(one.bytes),
    one.signature === null ? '-' : one.signature.key,
    one.file,
  ]);
  const [heading = '', ...lines] = aligned([HEADINGS, ...rows]);
  const total = archives.reduce((sum, one) => sum + one.count, 0);
  const bytes = archives.reduce((sum, one) => sum + one.bytes, 0);
  const all = `${formatCount(archives.length, 'archive')}, ${formatCount(total, 'row')}, ${formatBytes(bytes)}`;
  return `${[paint.bold(heading), ...lines, paint.dim(all)].join('\n')}\n`;
}
