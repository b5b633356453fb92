import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { ReportedStatus } from '../control/status.js';
import { AuditdError, messageOf } from '../errors.js';
import type { OtherInstance } from './status/instances.js';
import { contactsOf } from './support/contacts.js';
import { numberOf } from './support/filter-options.js';
import { escapeUnsafe, formatAge, widthOf } from './support/terminal.js';
import { timesFor, type UtcOption, withUtc } from './support/times.js';

interface Options extends UtcOption {
  readonly config?: string;
  readonly verbose?: boolean;
  /** Seconds; true if none were given. */
  readonly watch?: string | true;
  readonly json?: boolean;
  readonly healthz?: boolean;
}

const WATCH_SECONDS = 2;
/** Node fires a longer timer at once. */
const LONGEST_MS = 2 ** 31 - 1;
/** Moves the cursor to the upper left corner, and clears the screen below it. */
const CLEAR = '\u001b[H\u001b[J';

export function registerStatus(program: Command): void {
  withUtc(
    program
      .command('status')
      .description('Show the running daemon: its sources, its sinks and the lag of each')
      .option('--config <file>', 'configuration file (names the control socket)')
      .option('-v, --verbose', 'add the positions, delivery classes and figures of each sink')
      .option('--watch [seconds]', `repeat every ${WATCH_SECONDS} seconds, or this many, until Ctrl-C`)
      .option('--json', 'print JSON; with --watch one line each time')
      .option('--healthz', 'only say whether the daemon works or must be restarted, as GET /healthz does'),
  )
    .addHelpText(
      'after',
      `
Exit codes: 0 all is well, 1 a sink, a source or a server of the fleet needs attention, 3 the daemon is not running. With --healthz:
0 it works, even if a SIEM is down, 1 a part of it hangs, 3 it is not running.

Examples:
  $ postern-auditd status
  $ postern-auditd status --watch 5
  $ postern-auditd status --instance b
  $ postern-auditd status --json | jq '.sinks.audit.lag_events'`,
    )
    .action(async (options: Options) => {
      const { control } = await contactsOf(options.config, 'control');
      if (options.healthz === true) return health(control);
      if (options.watch !== undefined) return watch(control, options);
      const { text, troubled } = await look(control, options);
      process.stdout.write(text);
      if (troubled) process.exitCode = 1;
    });
}

/** The liveness probe of a container. @throws AuditdError `NOT_RUNNING` */
async function health(control: string): Promise<void> {
  const { controlRequest } = await import('../control/client.js');
  const { hung = [] } = (await controlRequest(control, 'GET', '/status')) as ReportedStatus;
  process.stdout.write(hung.length === 0 ? 'ok\n' : `failing: ${hung.map(escapeUnsafe).join(', ')}\n`);
  if (hung.length > 0) process.exitCode = 1;
}

/** The present status as text. @throws AuditdError `NOT_RUNNING` */
async function look(
  control: string,
  options: Options,
): Promise<{ readonly text: string; readonly troubled: boolean }> {
  const [{ controlRequest }, { otherInstances }, { renderStatus }, { troubles }] = await Promise.all([
    import('../control/client.js'),
    import('./status/instances.js'),
    import('./status/render.js'),
    import('./status/troubles.js'),
  ]);
  const others = options.config === undefined ? otherInstances() : Promise.resolve([]);
  const status = await reported(controlRequest(control, 'GET', '/status'), others);
  const instances = await others;
  const troubled = troubles(status).length > 0;
  if (options.json === true)
    return {
      text: `${toSafeJson(instances.length === 0 ? status : { ...status, instances }, options.watch === undefined ? 2 : 0)}\n`,
      troubled,
    };
  const text = renderStatus(status, {
    now: Date.now(),
    times: timesFor(process.stdout, options),
    width: widthOf(process.stdout),
    verbose: options.verbose === true,
  });
  return {
    text: instances.length === 0 ? text : `${text}\nother instances: ${named(instances)}\n`,
    troubled,
  };
}

/** The answer of the daemon. Where none runs, the error names the instances. */
async function reported(
  answer: Promise<unknown>,
  others: Promise<readonly OtherInstance[]>,
): Promise<ReportedStatus> {
  try {
    return (await answer) as ReportedStatus;
  } catch (error) {
    const instances = await others;
    if (instances.length === 0 || !(error instanceof AuditdError) || error.code !== 'NOT_RUNNING')
      throw error;
    const next = `${error.next === null ? '' : `${error.next}. `}Other instances (--instance NAME): ${named(instances)}`;
    throw new AuditdError(error.code, error.what, { next, cause: error });
  }
}

function named(instances: readonly OtherInstance[]): string {
  return instances.map(({ name, state }) => `${name} (${state})`).join(', ');
}

/** Repeats until it is interrupted, also while the daemon restarts. */
async function watch(control: string, options: Options): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises');
  const given = options.watch === true ? undefined : options.watch;
  const seconds = numberOf('watch', given, WATCH_SECONDS);
  process.once('SIGINT', () => process.exit(0));
  const isScreen = process.stdout.isTTY === true && options.json !== true;
  for (let first = true; ; first = false) {
    const begun = Date.now();
    const text = await look(control, options).then(
      (seen) => seen.text,
      (error: unknown) => {
        if (first) throw error;
        return options.json === true ? '' : `${messageOf(error)}\n`;
      },
    );
    const separator = first || options.json === true ? '' : '\n';
    process.stdout.write(
      isScreen ? `${CLEAR}${text}\nevery ${formatAge(seconds * 1_000)}; Ctrl-C stops\n` : separator + text,
    );
    await sleep(Math.min(LONGEST_MS, Math.max(100, seconds * 1_000 - (Date.now() - begun))));
  }
}
