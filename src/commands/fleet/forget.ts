import type { Command } from 'commander';

export function registerFleetForget(fleet: Command): void {
  fleet
    .command('forget')
    .description('take a server that is gone off the list')
    .argument('<server>', 'its name, as `status` of the hub shows it')
    .option('--config <file>', 'configuration file (says how NATS is reached)')
    .addHelpText(
      'after',
      `
The hub no longer waits for it, and \`status\` no longer complains of it. Its events stay where they are. Left to itself, a
server is forgotten after 30 days. docs/guide/FLEET.md has the rights that this takes.

Exit codes: 0 forgotten, 1 there is no such server, or NATS is not reached, 2 it still says that it is there.

Examples:
  $ postern-auditd fleet forget proxy-3`,
    )
    .action(async (server: string, options: { config?: string }) => {
      const [{ loadConfig }, { forgetServer }, { connectionOf }] = await Promise.all([
        import('../../config/load.js'),
        import('../../fleet/forget.js'),
        import('./config-option.js'),
      ]);
      const { config } = loadConfig(options.config ?? null, process.env);
      await forgetServer(connectionOf(config), server, config.fleet.silent_after);
      process.stdout.write(`${server} is forgotten.\n`);
    });
}
