import type { Command } from 'commander';

export function registerFleetForget(fleet: Command): void {
  fleet
    .command('forget')
    .description('Remove a retired server from the list')
    .argument('<server>', 'name of the server, from `status` of the hub')
    .option('--config <file>', 'configuration file (names the NATS servers)')
    .addHelpText(
      'after',
      `
The hub no longer waits for the server, and \`status\` no longer reports it. Its events stay. A silent server is removed
automatically after 30 days. docs/guide/FLEET.md lists the required NATS permissions.

Exit codes: 0 the server is removed, 1 there is no such server, it still sends heartbeats, or NATS can't be reached.

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
      process.stdout.write(`${server} is removed.\n`);
    });
}
