import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { Config } from '../config/schema.js';
import type { WebhookSinkConfig } from '../config/webhook.js';
import type { DaemonStatus } from '../control/status.js';
import { AuditdError } from '../errors.js';
import { claimingUser } from './support/claiming-user.js';

interface NotifyOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly timeout: string;
}

const ACTION = 'daemon.notify_test';
const POLL_MS = 200;

export function registerNotify(program: Command): void {
  const notify = program
    .command('notify')
    .description('Messages for people, by a sink of type webhook (docs/guide/NOTIFICATIONS.md)');
  notify
    .command('test')
    .description('Send a test message the way of all others: an event, the filter, the sink')
    .argument('[sink]', 'name of the sink in the configuration; default: the only one of type webhook')
    .option('--timeout <seconds>', 'how long to wait for the message', '60')
    .option('--json', 'print the result as JSON')
    .option('--config <file>', 'configuration file')
    .addHelpText(
      'after',
      `
The daemon records the event ${ACTION}, which goes to every sink whose filter takes it.

Exit codes: 0 the receiver has taken the message, 1 it has not, 3 the daemon is not running.

Examples:
  $ sudo postern-auditd notify test
  $ sudo postern-auditd notify test phone --timeout 120`,
    )
    .action(async (name: string | undefined, options: NotifyOptions) => {
      const [{ loadConfig }, { controlRequest }, { setTimeout: sleep }] = await Promise.all([
        import('../config/load.js'),
        import('../control/client.js'),
        import('node:timers/promises'),
      ]);
      const { config } = loadConfig(options.config ?? null, process.env);
      const { sink, settings } = chosenSink(config, name);
      await refuseFiltered(sink, settings, config.server);
      const seconds = timeoutOf(options.timeout);
      const state = async () => {
        const status = (await controlRequest(config.control, 'GET', '/status')) as DaemonStatus;
        const found = status.sinks[sink];
        if (found === undefined)
          throw new AuditdError('CONFLICT', `The daemon has no sink ${sink}`, {
            next: 'Let it read its configuration again: postern-auditd reload',
          });
        return found;
      };
      const sent = (await state()).figures.messages_total;
      const report = { action: ACTION, details: { sink } };
      await controlRequest(config.control, 'POST', '/told', report, { 'x-user': claimingUser() ?? '' });
      const deadline = performance.now() + seconds * 1_000;
      for (;;) {
        const { figures, last_error, state: now } = await state();
        if (figures.messages_total !== sent) break;
        if (performance.now() > deadline) throw notTaken(sink, seconds, now, last_error?.message ?? null);
        await sleep(POLL_MS);
      }
      const result = { sink, sent: true };
      process.stdout.write(
        options.json === true ? `${toSafeJson(result)}\n` : `${sink}: the message was taken\n`,
      );
    });
}

function chosenSink(
  { sinks }: Pick<Config, 'sinks'>,
  name: string | undefined,
): { sink: string; settings: WebhookSinkConfig } {
  const all = Object.entries(sinks).flatMap(([sink, settings]) =>
    settings.type === 'webhook' ? [{ sink, settings }] : [],
  );
  const names = all.map(({ sink }) => sink).join(', ');
  const found = name === undefined && all.length === 1 ? all[0] : all.find(({ sink }) => sink === name);
  if (found !== undefined) return found;
  if (all.length === 0)
    throw new AuditdError('USAGE', 'The configuration has no sink of type webhook', {
      next: 'Add one, see docs/guide/NOTIFICATIONS.md',
    });
  const what =
    name === undefined
      ? 'There are several sinks of type webhook'
      : `There is no sink ${name} of type webhook`;
  throw new AuditdError('USAGE', what, { next: `Name one of: ${names}` });
}

/** A filter without the test event would let the command wait for nothing. */
async function refuseFiltered(sink: string, { events }: WebhookSinkConfig, server: string): Promise<void> {
  const [{ catalog }, { whyRejected }] = await Promise.all([
    import('../audit/catalog.js'),
    import('../shipping/event-filter.js'),
  ]);
  const type = catalog.find(({ action }) => action === ACTION);
  if (type === undefined) return;
  const event = { type, action: ACTION, rawAction: ACTION, server, source: 'auditd' } as const;
  const keys = Object.entries(events).flatMap(([key, wanted]) =>
    whyRejected({ [key]: wanted }, event) === null ? [] : [key],
  );
  if (keys.length === 0) return;
  const named = keys.map((key) => `sinks.${sink}.events.${key}`).join(', ');
  throw new AuditdError('USAGE', `The filter of ${sink} does not take the test event ${ACTION}: ${named}`, {
    next: 'Add it to the filter while you test',
  });
}

function timeoutOf(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 3_600) return seconds;
  throw new AuditdError('USAGE', `--timeout ${text}: not a number of seconds from 1 to 3600`);
}

function notTaken(sink: string, seconds: number, state: string, error: string | null): AuditdError {
  const what = `${sink}: no message was taken within ${seconds} s (${state})${error === null ? '' : `. ${error}`}`;
  const next =
    error === null
      ? 'A message may be waiting for group_wait or rate: try a longer --timeout'
      : 'Correct the configuration, or look at the receiver';
  return new AuditdError('SINK_FAILED', what, { next });
}
