import type { Command } from 'commander';
import { escapeUnsafe, toSafeJson } from '../audit/unsafe-characters.js';
import { AuditdError } from '../errors.js';
import type { RetentionStatus } from '../retention/scheduler.js';
import type { DryTarget } from '../retention/thread-protocol.js';
import { registerRetainHolds as holds } from './retain/holds.js';
import { partOf, renderDry, renderExpiry, renderLast, runProgressText } from './retain/render.js';
import { claimingUser } from './support/claiming-user.js';
import { contactsOf } from './support/contacts.js';
import { ProgressBar } from './support/progress-bar.js';
import { shownTime, timesFor, type UtcOption, withUtc } from './support/times.js';

interface RetainOptions extends UtcOption {
  readonly dryRun?: boolean;
  readonly now?: boolean;
  readonly confirmClock?: boolean;
  readonly config?: string;
  readonly json?: boolean;
}

const POLL_MS = 200;

export function registerRetain(program: Command): void {
  const retain = program.command('retain');
  withUtc(retain.description('Show what retention would remove from the table, or remove it now'))
    .option(
      '--dry-run',
      'print what would be removed, by category and month, and change nothing (also while retention is off)',
    )
    .option('--now', 'archive and remove rows now')
    .option('--confirm-clock', "confirm that the machine's clock is right, on a host without NTP")
    .option('--json', 'print the result as JSON')
    .option('--config <file>', 'configuration file (names the control socket)')
    .addHelpText(
      'after',
      `
The daemon writes rows to an archive, reads the archive back and compares it. Only then are the rows removed, a few at a time,
so that Postern does not have to wait. Ctrl-C stops watching; the run continues.

An archive past retention.archive.keep is removed 24 hours of the machine's running time after its expiry was recorded, and only
while the clock is known: synchronised, or confirmed with --confirm-clock since it was last set. --now does not shorten this.

Exit codes: 0 done, 1 the run failed, or can't start now, 3 the daemon is not running.

Examples:
  $ postern-auditd retain --dry-run
  $ postern-auditd retain --dry-run --json | jq '.[].going'
  $ postern-auditd retain --now`,
    )
    .action(async (options: RetainOptions) => {
      const given = [options.dryRun, options.now, options.confirmClock].filter((one) => one === true);
      if (given.length !== 1)
        throw new AuditdError(
          'USAGE',
          'retain needs exactly one of --dry-run, --now and --confirm-clock, or a subcommand: hold, release or holds',
          { next: 'Start with --dry-run: it only prints what would be removed' },
        );
      const { control } = await contactsOf(options.config, 'control');
      await (options.confirmClock === true ? confirmClock : run)(control, options);
    });
  holds(retain);
}

async function confirmClock(control: string, options: RetainOptions): Promise<void> {
  const { controlRequest } = await import('../control/client.js');
  const user = { 'x-user': claimingUser() ?? '' };
  const { clock } = (await controlRequest(control, 'POST', '/retention/clock', undefined, user)) as {
    clock: string;
  };
  process.stdout.write(
    options.json === true
      ? `${toSafeJson({ clock })}\n`
      : `recorded: it is ${shownTime(clock, timesFor(process.stdout, options))}, and the clock is right\n`,
  );
}

/** Starts a run or a dry run, and shows its progress until it ends. */
async function run(control: string, options: RetainOptions): Promise<void> {
  const [{ controlRequest }, { setTimeout: sleep }] = await Promise.all([
    import('../control/client.js'),
    import('node:timers/promises'),
  ]);
  const path = options.now === true ? '/retention/now' : '/retention/dry';
  await controlRequest(control, 'POST', path, undefined, { 'x-user': claimingUser() ?? '' });
  const bar = new ProgressBar(options.json === true ? null : process.stderr);
  for (;;) {
    const status = (await controlRequest(control, 'GET', '/retention')) as RetentionStatus;
    if (status.run === null || status.run.state !== 'running') {
      bar.end();
      end(status, options);
      return;
    }
    const { progress } = status.run;
    if (progress !== null) bar.show(partOf(progress), () => runProgressText(progress));
    await sleep(POLL_MS);
  }
}

function end({ run, last, expiry }: RetentionStatus, options: RetainOptions): void {
  const json = options.json === true;
  const times = timesFor(process.stdout, options);
  if (run?.state === 'failed') {
    if (json) process.stdout.write(`${toSafeJson({ error: run.error })}\n`);
    process.stderr.write(`postern-auditd: ${escapeUnsafe(run.error ?? 'failed')}\n`);
    process.exitCode = 1;
    return;
  }
  const dry: readonly DryTarget[] | null = run?.dry ?? null;
  if (json) process.stdout.write(`${toSafeJson(dry ?? last, 2)}\n`);
  else if (dry !== null) process.stdout.write(renderDry(dry, times));
  else if (last !== null)
    process.stdout.write(
      `${[...renderLast(last, times), ...(expiry == null ? [] : [renderExpiry(expiry)])].join('\n')}\n`,
    );
}
