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
      'let anchor.json say where the chain begins, though no decision to remove archives is recorded',
    )
    .option('--config <file>', 'configuration file (names the control socket)')
    .option('--json', 'as JSON, for programs')
    .addHelpText(
      'after',
      `
Where the chain begins is recorded in state.db, and an anchor that says something else does not count. After state.db was lost, the first
run adopts the anchor by itself; later it takes this command, which the daemon records as an event. Nothing is removed by it: an anchor
that stands for an archive which is there is refused, and so is one that the first archive was not put behind.

Exit codes: 0 recorded, 2 there is nothing to adopt, or it is refused, 3 the daemon does not run.

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
          : `recorded: the chain begins at ${removal.sequence + 1}, behind an anchor that was adopted\n`,
      );
    });
}
