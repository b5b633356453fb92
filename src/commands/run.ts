import type { Command } from 'commander';

/** Longer than the drain of 3 s, shorter than the 5 s that are promised. */
const STOP_LIMIT_MS = 4_500;

export function registerRun(program: Command): void {
  program
    .command('run')
    .description('Run the daemon in the foreground, as the systemd unit does')
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .addHelpText(
      'after',
      `
Signals:
  SIGTERM, SIGINT   ship what has been read, and stop within 5 s
  SIGHUP            reload the configuration; when it is invalid, the previous configuration stays active

Examples:
  $ postern-auditd run
  $ postern-auditd run --config ./config.yml`,
    )
    .action(async (options: { config?: string }) => {
      const [{ Daemon }, { createLog }, { loadConfig }] = await Promise.all([
        import('../daemon.js'),
        import('../systemd/journal.js'),
        import('../config/load.js'),
      ]);
      const configPath = options.config ?? null;
      const { config } = loadConfig(configPath, process.env);
      const log = await createLog({ ...config.log, env: process.env });
      const daemon = new Daemon({ configPath, env: process.env, log });
      const stop = (signal: NodeJS.Signals) => {
        log.info({ signal }, 'stopping');
        setTimeout(() => {
          log.error(
            'the sinks were not drained in time; stopping now, the remaining rows are shipped at the next start',
          );
          process.exit(1);
        }, STOP_LIMIT_MS).unref();
        daemon.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            log.error({ err: error }, 'stopping failed');
            process.exit(1);
          },
        );
      };
      process.once('SIGTERM', stop);
      process.once('SIGINT', stop);
      process.on('SIGHUP', () => void daemon.reload().catch(() => undefined)); // refused, which the daemon has logged
      await daemon.start();
    });
}
