import { resolve } from 'node:path';
import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import type { RestoredBackup } from '../../backup/restore.js';
import { claimingUser } from '../support/claiming-user.js';
import { ProgressBar } from '../support/progress-bar.js';
import { formatCount } from '../support/terminal.js';

interface Options {
  readonly config?: string;
  readonly replace?: boolean;
  readonly json?: boolean;
}

export function registerBackupRestore(backup: Command): void {
  backup
    .command('restore')
    .description('Put a backup into the directories of the configuration, while the daemon is stopped')
    .argument('<directory>', 'directory of the backup')
    .option('--config <file>', 'configuration file (names the state and the archives)')
    .option('--replace', 'move an existing state.db aside')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Everything is verified first. Nothing is deleted: an existing state is moved aside (state.db.replaced-TIME), existing archives stay, and
the configuration is not touched. The daemon then reads Postern's table once more from its beginning, and gives each sink what it has not
had: log files are compared, and receivers may get events again that they got after the backup, with the same event.id.

Exit codes: 0 restored, 1 the backup is damaged, or there is a state.db and no --replace, 78 the configuration is invalid.

Examples:
  $ sudo systemctl stop postern-auditd
  $ sudo postern-auditd backup restore --replace /mnt/backup/2026-12-01
  $ sudo systemctl start postern-auditd && postern-auditd check`,
    )
    .action(restore);
}

async function restore(name: string, options: Options): Promise<void> {
  const [{ loadConfig }, { restoreBackup }] = await Promise.all([
    import('../../config/load.js'),
    import('../../backup/restore.js'),
  ]);
  const bar = new ProgressBar(options.json === true ? null : process.stderr);
  const restored = restoreBackup({
    loaded: loadConfig(options.config ?? null, process.env),
    directory: resolve(name),
    replace: options.replace === true,
    by: claimingUser(),
    onProgress: (part) => bar.show(part, () => 'verified'),
  });
  bar.end();
  process.stdout.write(options.json === true ? `${toSafeJson(restored, 2)}\n` : render(restored));
}

function render({ created, state, replaced, archives }: RestoredBackup): string {
  const lines = [`${state}: restored from the backup of ${created}`];
  if (replaced !== null) lines.push(`The state that was there is now ${replaced}`);
  if (archives.outcome === 'restored')
    lines.push(`${archives.directory}: ${formatCount(archives.files, 'file')} restored`);
  if (archives.outcome === 'kept')
    lines.push(`${archives.directory} has archives, which stay. Compare: postern-auditd archive verify`);
  return `${lines.join('\n')}\n`;
}
