import { type Command, InvalidArgumentError } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { ReplayStatus } from '../shipping/replay.js';
import { contactsOf } from './support/contacts.js';

interface ReplayOptions {
  readonly from?: Bound;
  readonly to?: Bound;
  readonly source: string;
  readonly rate?: number;
  readonly config?: string;
  readonly json?: boolean;
}

/** A row id, or a time in ms since the epoch. */
type Bound = { readonly id: number } | { readonly time: number };

const POLL_MS = 200;
const WRITTEN = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|[+-]\d\d:?\d\d)?)?$/;
const BAR = 30;

export function registerReplay(program: Command): void {
  program
    .command('replay')
    .description('Send rows to a network sink again, while new rows are shipped as usual')
    .argument('<sink>', 'name of the sink in the configuration')
    .option('--from <id|date>', 'first row: an id, or a date such as 2026-11-01 or 2026-11-01T08:00Z', bound)
    .option('--to <id|date>', 'last row: an id (included), or a date (excluded)', bound)
    .option('--source <name>', 'postern or auditd', 'postern')
    .option('--rate <n>', 'limit of events per second', rate)
    .option('--json', 'print the result as JSON')
    .option('--config <file>', 'configuration file (names the control socket)')
    .addHelpText(
      'after',
      `
The daemon sends the rows through the sink's own filter and does not move its cursor. Receivers can drop duplicates by
event.id. Files and fail2ban can't be replayed. Ctrl-C stops watching; the replay continues.

Exit codes: 0 all rows were sent, 1 the replay stopped early, 3 the daemon is not running.

Examples:
  $ postern-auditd replay siem --from 2026-11-01 --to 2026-11-02
  $ postern-auditd replay siem --from 4000 --to 4711 --rate 500`,
    )
    .action(async (sink: string, options: ReplayOptions) => {
      const [{ controlRequest }, { setTimeout: sleep }] = await Promise.all([
        import('../control/client.js'),
        import('node:timers/promises'),
      ]);
      const { control } = await contactsOf(options.config, 'control');
      await controlRequest(control, 'POST', '/replay', requestOf(sink, options));
      const path = `/replay/${encodeURIComponent(sink)}`;
      const shown = process.stderr.isTTY && options.json !== true;
      for (;;) {
        const status = (await controlRequest(control, 'GET', path)) as ReplayStatus;
        if (shown) process.stderr.write(`\r${replayProgress(status)}`);
        if (status.state !== 'running') {
          if (shown) process.stderr.write('\n');
          end(sink, status, options.json === true);
          return;
        }
        await sleep(POLL_MS);
      }
    });
}

/** The request to the daemon. */
export function requestOf(sink: string, options: Pick<ReplayOptions, 'from' | 'to' | 'source' | 'rate'>) {
  const { from, to, source, rate: perSecond } = options;
  return {
    sink,
    source,
    fromId: from !== undefined && 'id' in from ? from.id : null,
    toId: to !== undefined && 'id' in to ? to.id : null,
    fromTime: from !== undefined && 'time' in from ? from.time : null,
    toTime: to !== undefined && 'time' in to ? to.time : null,
    rate: perSecond ?? null,
  };
}

/** `[#####.....] 50 %, 1200 events` */
export function replayProgress({ at, to, sent }: Pick<ReplayStatus, 'at' | 'to' | 'sent'>): string {
  const part = to === 0 ? 1 : Math.min(1, at / to);
  const full = Math.round(part * BAR);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${Math.floor(part * 100)} %, ${sent} events`;
}

function end(sink: string, status: ReplayStatus, json: boolean): void {
  if (json) process.stdout.write(`${toSafeJson(status)}\n`);
  else if (status.state === 'done') process.stdout.write(`${status.sent} events sent to ${sink} again\n`);
  else {
    process.stderr.write(
      `postern-auditd: the replay stopped at row ${status.at} of ${status.to} after ${status.sent} events: ${status.error}. Resume it with --from ${status.at + 1}\n`,
    );
  }
  if (status.state !== 'done') process.exitCode = 1;
}

/** An id or a date. @throws InvalidArgumentError */
export function bound(text: string): Bound {
  if (/^\d{1,15}$/.test(text)) return { id: Number(text) };
  const [, day, clock = '', zone = ''] = WRITTEN.exec(text) ?? [];
  // Without a zone it is UTC, as everywhere.
  const time = Date.parse(clock === '' ? `${day}` : `${day}T${clock}${zone === '' ? 'Z' : zone}`);
  if (Number.isNaN(time))
    throw new InvalidArgumentError('Give a row id, or a date such as 2026-11-01 or 2026-11-01T08:00Z.');
  return { time };
}

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('Give a number above 0.');
  return value;
}
