import type { Command } from 'commander';
import { registerFleetForget as forget } from './fleet/forget.js';
import { registerFleetInit as init } from './fleet/init.js';

export function registerFleet(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('more than one server: the stream that they share, and who is in');
  for (const sub of [init, forget]) sub(fleet);
}
