import type { Command } from 'commander';
import { contactsOf } from './support/contacts.js';

export function registerUnban(program: Command): void {
  program
    .command('unban')
    .description('Lift the ban on an address, or on the banned network that contains it')
    .argument('<ip...>', 'addresses or networks, as `postern-auditd bans` lists them')
    .option('--config <file>', 'configuration file (names the jail)')
    .addHelpText(
      'after',
      `
Further failed logins can ban the address again. fail2ban.never_ban in the configuration lists addresses that are
never banned. The daemon records the unban as an event.

Exit codes: 0 the ban is lifted, 1 there was no such ban.

Examples:
  $ sudo postern-auditd unban 203.0.113.7
  $ sudo postern-auditd unban 2001:db8:1:2::/64`,
    )
    .action(async (addresses: readonly string[], options: { config?: string }) => {
      const { liftedWords, unban } = await import('../fail2ban/client.js');
      const { jail } = await contactsOf(options.config, 'jail');
      for (const address of addresses) {
        const lifted = await unban(jail, address);
        if (lifted.length > 0) {
          process.stdout.write(`${liftedWords(address, lifted, ` in jail ${jail}`)}\n`);
          continue;
        }
        process.stderr.write(
          `postern-auditd: ${address} is not banned in jail ${jail}. See: postern-auditd bans\n`,
        );
        process.exitCode = 1;
      }
    });
}
