import type { Command } from 'commander';

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('show the whole way of an event, without Postern and without root')
    .option('--keep', 'leave it running, with live traffic, until Ctrl-C')
    .option('--dir <directory>', 'where to put it (default: a new directory under the temporary one)')
    .addHelpText(
      'after',
      `
Makes an audit database, plays a day of an administrator and a brute-force attack into it, ships it with the
real daemon, and shows what was written and whom fail2ban's filter would ban.

Examples:
  $ postern-auditd demo
  $ postern-auditd demo --keep --dir /tmp/audit-demo`,
    )
    .action(async (options: { keep?: boolean; dir?: string }) => {
      const { runDemo } = await import('./demo/run.js');
      await runDemo({ keep: options.keep === true, directory: options.dir ?? null });
    });
}
