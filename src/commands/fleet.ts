import type { Command } from 'commander';
import { register as forget } from './fleet/forget.js';
import { register as init } from './fleet/init.js';

export function register(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('more than one server: the stream that they share, and who is in');
  for (const sub of [init, forget]) sub(fleet);
}
