import { resolve } from 'node:path';
import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { ProgressBar } from '../support/progress-bar.js';
import { formatBytes, formatCount } from '../support/terminal.js';

export function registerBackupVerify(backup: Command): void {
  backup
    .command('verify')
    .description('Read a backup, and compare each file with its hash')
    .argument('<directory>', 'directory of the backup')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
It shows that nothing is missing or damaged. It does not show that nobody changed both a file and its hash: for archives,
archive verify --directory does, with a key or a noted end.

Exit codes: 0 nothing is wrong, 1 a file is missing or was changed.

Examples:
  $ sudo postern-auditd backup verify /mnt/backup/2026-12-01
  $ sudo postern-auditd archive verify --directory /mnt/backup/2026-12-01/archive --key audit.pub`,
    )
    .action(async (name: string, options: { json?: boolean }) => {
      const { checkBackupFiles, readBackupManifest } = await import('../../backup/manifest.js');
      const directory = resolve(name);
      const manifest = readBackupManifest(directory);
      const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      const bar = new ProgressBar(options.json === true ? null : process.stderr);
      let done = 0;
      checkBackupFiles(directory, manifest, (read) => {
        done += read;
        bar.show(bytes === 0 ? 1 : done / bytes, () => formatBytes(done));
      });
      bar.end();
      const { created, server, files } = manifest;
      process.stdout.write(
        options.json === true
          ? `${toSafeJson(manifest, 2)}\n`
          : `Backup of ${server}, ${created}: ${formatCount(files.length, 'file')}, ${formatBytes(bytes)}: nothing is wrong\n`,
      );
    });
}
