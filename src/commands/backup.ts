import type { Command } from 'commander';
import { registerBackupCreate as create } from './backup/create.js';
import { registerBackupRestore as restore } from './backup/restore.js';
import { registerBackupVerify as verify } from './backup/verify.js';

export function registerBackup(program: Command): void {
  const backup = program
    .command('backup')
    .description(
      "Back up the daemon's state, configuration and archives, and restore them here or elsewhere",
    );
  for (const sub of [create, verify, restore]) sub(backup);
}
