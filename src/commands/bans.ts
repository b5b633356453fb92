import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { contactsOf } from './support/contacts.js';
import { aligned, createPaint, formatCount, wantsColour } from './support/terminal.js';
import { shownTime, timesFor, type UtcOption, withUtc } from './support/times.js';

export function registerBans(program: Command): void {
  withUtc(program.command('bans').description('List current and past bans'))
    .option('--config <file>', 'configuration file (names the jail)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Current bans come from fail2ban, which answers only root. Past bans come from the daemon's own events.

Examples:
  $ sudo postern-auditd bans
  $ sudo postern-auditd bans --json | jq -r '.banned[].address'`,
    )
    .action(async (options: UtcOption & { config?: string; json?: boolean }) => {
      const [{ fail2banBans, fail2banStatus }, { banHistory, renderPast }] = await Promise.all([
        import('../fail2ban/client.js'),
        import('./bans/history.js'),
      ]);
      const contacts = await contactsOf(options.config, 'jail');
      const { jail } = contacts;
      const [banned, status] = await Promise.all([fail2banBans(jail), fail2banStatus(jail)]);
      const history = banHistory(contacts);
      if (options.json === true) {
        const { currentlyFailed, totalFailed, totalBanned } = status;
        const figures = {
          currently_failed: currentlyFailed,
          total_failed: totalFailed,
          total_banned: totalBanned,
        };
        process.stdout.write(`${toSafeJson({ jail, banned, ...figures, history }, 2)}\n`);
        return;
      }
      const paint = createPaint(wantsColour(process.stdout, process.env));
      const times = timesFor(process.stdout, options);
      const rows = banned.map(({ address, since, until }) => [
        paint.red(address),
        since === null ? '' : `since ${shownTime(since, times)}`,
        until === null ? 'for ever' : `until ${shownTime(until, times)}`,
      ]);
      const lines = [
        `${banned.length === 0 ? 'Nobody is' : `${formatCount(banned.length, 'address', 'addresses')} ${banned.length === 1 ? 'is' : 'are'}`} banned in jail ${jail}.`,
        ...aligned(rows, '  '),
        paint.dim(
          `${formatCount(status.currentlyFailed, 'address', 'addresses')} with failures that have not led to a ban; since fail2ban's start ${formatCount(status.totalFailed, 'failure')}, ${formatCount(status.totalBanned, 'ban')}.`,
        ),
        ...(history.length === 0
          ? []
          : [
              '',
              'Recent bans and unbans:',
              ...aligned(
                history.map((past) => renderPast(past, times)),
                '  ',
              ),
            ]),
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}
