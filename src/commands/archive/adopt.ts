import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import type { Removal } from '../../retention/archive/anchor.js';
import { claimingUser } from '../support/claiming-user.js';
import { contactsOf } from '../support/contacts.js';

interface Options {
  readonly config?: string;
  readonly json?: boolean;
}

export function registerArchiveAdopt(archive: Command): void {
  archive
    .command('adopt')
    .description(
      'Accept anchor.json as the beginning of the chain, though no removal of archives is recorded',
    )
    .option('--config <file>', 'configuration file (names the control socket)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The beginning of the chain is recorded in state.db, and an anchor that differs does not count. After the loss of state.db the first
run accepts the anchor by itself; later this command does, and the daemon records an event. It removes nothing. An anchor is rejected
when it covers an archive that exists, or when the first archive does not follow it.

Exit codes: 0 recorded, 1 there is nothing to adopt, or the anchor is rejected, 3 the daemon is not running.

Examples:
  $ postern-auditd archive verify
  $ postern-auditd archive adopt`,
    )
    .action(async (options: Options) => {
      const { controlRequest } = await import('../../control/client.js');
      const { control } = await contactsOf(options.config, 'control');
      const removal = (await controlRequest(control, 'POST', '/archives/adopt', undefined, {
        'x-user': claimingUser() ?? '',
      })) as Removal;
      process.stdout.write(
        options.json === true
          ? `${toSafeJson(removal, 2)}\n`
          : `recorded: the chain begins at ${removal.sequence + 1}, after the adopted anchor\n`,
      );
    });
}
