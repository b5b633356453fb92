import type { Command } from 'commander';
import { register as adopt } from './archive/adopt.js';
import { register as cat } from './archive/cat.js';
import { register as list } from './archive/list.js';
import { register as restore } from './archive/restore.js';
import { register as verify } from './archive/verify.js';

export function register(program: Command): void {
  const archive = program
    .command('archive')
    .description('look at archives, verify them, put their rows back');
  for (const sub of [list, verify, restore, cat, adopt]) sub(archive);
}
