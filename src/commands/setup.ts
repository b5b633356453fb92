import { type Command, Option } from 'commander';
import type { SetupOptions } from './setup/run.js';

export function registerSetup(program: Command): void {
  program
    .command('setup')
    .description('Write configuration, daemon user, access to the database, and the jail of fail2ban')
    .option('--database <path>', "Postern's database, or its directory; stored in the configuration")
    .option('--trust-owner <user>', 'with --database: accept that this user can write there')
    .option('--admin-net <network>', 'never ban this address or network; can be given several times', collect)
    .option('--banaction <name>', "fail2ban's action that bans; stored in the configuration")
    .option('--fail2ban', 'set up bans again, after --no-fail2ban or --remove-jail')
    .option('--no-fail2ban', 'set up no bans, now and in later runs; an existing jail stays')
    .option('--remove-jail', 'like --no-fail2ban, and remove an existing jail and its bans')
    .addOption(
      new Option('--prepare', 'everything but the jail, as before the first start').conflicts('remove'),
    )
    .option(
      '--remove',
      'lift the bans; remove the jail, drop-ins and access lists; keep data and configuration',
    )
    .option(
      '--purge',
      'with --remove: remove configuration, state and logs too; archives that hold entries stay',
    )
    .option('--dry-run', 'print the changes without making them')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
For an installed program, as root: the Debian package runs it, and so can you after a change of the database's owner,
of fail2ban or of the configuration. It can be repeated at any time, and changes only what differs. It writes
/etc/postern-auditd/config.yml once and changes only the keys of the options later; the daemon's user and places go
into drop-ins of the units. It installs no packages and no units, and enables no service. A running daemon is reloaded, and
restarted if its user or places change; one that is stopped stays stopped. What can't be set up yet is a warning with
the next step: no database, no fail2ban, a stopped daemon.

With --instance NAME it adds the daemon of another database on this host, postern-auditd@NAME, or sets it up again;
systemctl enable --now postern-auditd@NAME starts that one. --remove without --instance removes the settings of all.

Exit codes: 0 done, or nothing to do, 1 a step failed (what was half done is restored), 2 the command line is
invalid, 78 the configuration is invalid (nothing has been changed).

Examples:
  $ sudo postern-auditd setup
  $ sudo postern-auditd setup --database /srv/postern/posternproxy.db --dry-run
  $ sudo postern-auditd setup --prepare
  $ sudo postern-auditd setup --instance b --database /srv/other/posternproxy.db
  $ sudo postern-auditd setup --remove
  $ sudo postern-auditd setup --json | jq -r '.warnings[]'`,
    )
    .action(async (options: SetupOptions & { json?: boolean }) => {
      const { runSetup } = await import('./setup/run.js');
      process.exitCode = await runSetup(options, options.json === true);
    });
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
