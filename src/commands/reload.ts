import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { Reloaded } from '../config/reload-result.js';
import { AuditdError } from '../errors.js';
import { renewJail } from '../next-steps.js';
import { contactsOf } from './support/contacts.js';
import { formatCount } from './support/terminal.js';

/** Longer than a reload that waits for deliveries in progress. */
const TIMEOUT_MS = 60_000;

export function registerReload(program: Command): void {
  program
    .command('reload')
    .description("Reload the daemon's configuration, as systemctl reload does")
    .option('--config <file>', 'configuration file (names the control socket)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
An invalid configuration is rejected, and the previous one stays active.

Exit codes: 0 the new configuration is active, 3 the daemon is not running, 78 the new configuration is invalid.

Examples:
  $ sudo postern-auditd reload
  $ sudo postern-auditd reload --json | jq -r '.restart[]'`,
    )
    .action(async (options: { config?: string; json?: boolean }) => {
      const [{ controlRequest, SOCKET_NAME }, { existsSync }, { join }] = await Promise.all([
        import('../control/client.js'),
        import('node:fs'),
        import('node:path'),
      ]);
      // In the unit: the configuration may already name another socket than the daemon's.
      const runtime = process.env.RUNTIME_DIRECTORY?.split(':')[0];
      const own = runtime === undefined ? null : join(runtime, SOCKET_NAME);
      const socket =
        own !== null && existsSync(own) ? own : (await contactsOf(options.config, 'control')).control;
      const answer = (await controlRequest(socket, 'POST', '/reload', undefined, {}, TIMEOUT_MS).catch(
        (error: unknown) => {
          if (!(error instanceof AuditdError) || error.code === 'NOT_RUNNING') throw error;
          const what = 'The daemon rejected the new configuration, and the previous one stays active';
          throw new AuditdError(error.code, `${what}. ${error.what}`, { next: error.next });
        },
      )) as Answer;
      process.stdout.write(options.json === true ? `${toSafeJson(answer, 2)}\n` : render(answer));
    });
}

/** A daemon of an earlier version does not report what changed. */
type Answer = { readonly reloaded: boolean } & Partial<Reloaded>;

function render({ changed = [], restart = [], jail = false }: Answer): string {
  const lines = [
    changed.length === 0
      ? 'The configuration is reloaded; nothing in it has changed.'
      : `The configuration is reloaded: ${formatCount(changed.length, 'key has', 'keys have')} changed (${changed.join(', ')}).`,
    ...(restart.length === 0 ? [] : [`These take effect after a restart: ${restart.join(', ')}.`]),
    ...(jail ? [`To update fail2ban's jail, ${renewJail()}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}
