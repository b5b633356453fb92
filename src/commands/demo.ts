import type { Command } from 'commander';

export function register(program: Command): void {
  program.command('demo').description('shows the whole way of an event, without Postern and without root');
}
