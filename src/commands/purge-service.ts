import type { Command } from 'commander';

export function registerPurger(program: Command): void {
  program
    .command('purger', { hidden: true })
    .description('Remove archived rows for the daemon, which may not write to the table; started by systemd')
    .option('--config <file>', 'configuration file')
    .action(async (options: { config?: string }) => {
      const { serveActivated } = await import('../retention/purge/server.js');
      await serveActivated({ configPath: options.config ?? null, env: process.env });
    });
}
