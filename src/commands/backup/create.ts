import { resolve } from 'node:path';
import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import type { BackupManifest } from '../../backup/manifest.js';
import { ProgressBar } from '../support/progress-bar.js';
import { reportAction } from '../support/report-to-daemon.js';
import { formatBytes, formatCount } from '../support/terminal.js';

interface Options {
  readonly config?: string;
  readonly archives: boolean;
  readonly json?: boolean;
}

export function registerBackupCreate(backup: Command): void {
  backup
    .command('create')
    .description(
      'Copy state.db, the configuration and the archives into a new directory, while the daemon runs or not',
    )
    .argument('<directory>', 'where to; must not exist, or be empty')
    .option('--config <file>', 'configuration file (names the state and the archives)')
    .option('--no-archives', 'leave the archives out, because they are copied by other means')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The copy is consistent: it is what a crash at this moment would have left. A copy of state.db by cp or rsync is not, while the daemon
runs. The directory has mode 0700: it has the key of redact.mode hmac, the hashes of API tokens, and rows with their secrets. Keys and
passwords in files of their own are not copied, and are listed. Postern's database and the log files are not copied either.

Exit codes: 0 the backup is complete, 3 the daemon has never run here.

Examples:
  $ sudo postern-auditd backup create /var/backups/postern-auditd-$(date +%F)
  $ sudo postern-auditd backup create --no-archives /mnt/backup/today && sudo rsync -a --delete /var/lib/postern-auditd/archive /mnt/backup/`,
    )
    .action(create);
}

async function create(name: string, options: Options): Promise<void> {
  const [{ loadConfig }, { createBackup }] = await Promise.all([
    import('../../config/load.js'),
    import('../../backup/create.js'),
  ]);
  const loaded = loadConfig(options.config ?? null, process.env);
  const directory = resolve(name);
  const bar = new ProgressBar(options.json === true ? null : process.stderr);
  const made = await createBackup({
    loaded,
    directory,
    archives: options.archives,
    onProgress: (what, part) => bar.show(part, () => what),
  });
  bar.end();
  await reportAction(loaded.config, {
    action: 'daemon.state_backup',
    details: { directory, created: made.created, files: made.files.length, archives: made.archives !== null },
  });
  process.stdout.write(options.json === true ? `${toSafeJson(made, 2)}\n` : render(directory, made));
}

function render(directory: string, { files, not_included, archives }: BackupManifest): string {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const lines = [
    `${directory}: ${formatCount(files.length, 'file')}, ${formatBytes(bytes)}`,
    ...(archives === null ? ['note: without the archives'] : []),
    ...not_included.map((path) => `note: ${path} is named by the configuration, and is not in the backup`),
  ];
  return `${lines.join('\n')}\n`;
}
