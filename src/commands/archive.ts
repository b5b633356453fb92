import type { Command } from 'commander';
import { registerArchiveAdopt as adopt } from './archive/adopt.js';
import { registerArchiveCat as cat } from './archive/cat.js';
import { registerArchiveList as list } from './archive/list.js';
import { registerArchiveRestore as restore } from './archive/restore.js';
import { registerArchiveVerify as verify } from './archive/verify.js';

export function registerArchive(program: Command): void {
  const archive = program.command('archive').description('List, verify, restore and print archives');
  for (const sub of [list, verify, restore, cat, adopt]) sub(archive);
}
