import type { Command } from 'commander';

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('Show the whole path of an event, without Postern and without root')
    .option('--keep', 'keep running, with live traffic, until Ctrl-C')
    .option('--dir <directory>', 'directory for the files (default: a new temporary directory)')
    .addHelpText(
      'after',
      `
Creates an audit database, writes a day of an administrator and a brute-force attack into it, ships it with the real
daemon, and shows what arrived and whom fail2ban would ban.

Examples:
  $ postern-auditd demo
  $ postern-auditd demo --keep --dir /tmp/audit-demo`,
    )
    .action(async (options: { keep?: boolean; dir?: string }) => {
      const { runDemo } = await import('./demo/run.js');
      await runDemo({ keep: options.keep === true, directory: options.dir ?? null });
    });
}
