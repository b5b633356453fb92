import type { Command } from 'commander';
import { registerFleetForget as forget } from './fleet/forget.js';
import { registerFleetInit as init } from './fleet/init.js';

export function registerFleet(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('Set up the stream of a fleet, and remove retired servers');
  for (const sub of [init, forget]) sub(fleet);
}
