import type { Command } from 'commander';
import type { ApiStatus } from '../api/status.js';
import { toSafeJson, visible } from '../audit/unsafe-characters.js';
import type { RefusedConfig } from '../config/reload.js';
import { UNREPORTED_NEXT, unreported } from '../fail2ban/compare.js';
import type { SilenceStatus } from '../fail2ban/silence-watch.js';
import type { FleetStatus } from '../fleet/status.js';
import type { RetentionStatus } from '../retention/retention.js';
import type { FeedStatus } from '../shipping/feed.js';
import type { LoopStatus } from '../shipping/loop-status.js';
import { contactsOf } from './contacts.js';
import { fleetTroubles, renderFleet } from './fleet/render.js';
import { renderRetention } from './retain/render.js';

/** What the daemon answers to GET /status. */
interface DaemonStatus {
  readonly version: string;
  readonly pid: number;
  readonly started: string;
  readonly config: string | null;
  readonly config_refused?: RefusedConfig | null;
  readonly sources: Readonly<Record<string, FeedStatus>>;
  readonly sinks: Readonly<Record<string, LoopStatus>>;
  readonly bans: {
    readonly path: string;
    readonly state: string;
    readonly recorded_total: number;
    readonly unrecorded?: readonly string[];
  } | null;
  readonly silence?: SilenceStatus | null;
  /** Missing from a daemon that has none yet. */
  readonly api?: ApiStatus;
  readonly retention?: RetentionStatus | null;
  readonly fleet?: FleetStatus | null;
}

export function register(program: Command): void {
  program
    .command('status')
    .description('what the running daemon does: its sources, its sinks, how far each has got')
    .option('--config <file>', 'configuration file (names the control socket)')
    .option('--json', 'as JSON, for programs')
    .addHelpText(
      'after',
      `
Exit codes: 0 all is well, 1 a sink, a source or a server of the fleet needs attention, 3 the daemon does not run.

Examples:
  $ postern-auditd status
  $ postern-auditd status --json | jq '.sinks.audit.lag_events'`,
    )
    .action(async (options: { config?: string; json?: boolean }) => {
      const { controlRequest } = await import('../api/client.js');
      const { control } = await contactsOf(options.config, 'control');
      const status = (await controlRequest(control, 'GET', '/status')) as DaemonStatus;
      const troubled = troubles(status);
      process.stdout.write(options.json === true ? `${toSafeJson(status, 2)}\n` : render(status, Date.now()));
      if (troubled.length > 0) process.exitCode = 1;
    });
}

/** What needs somebody's attention; a Postern that is stopped or not there yet does not. */
export function troubles(status: DaemonStatus): string[] {
  const sources = Object.entries(status.sources)
    .filter(([, { state }]) => !['reading', 'stopped', 'missing', 'starting'].includes(state))
    .map(([name, { message }]) => `source ${name}: ${message}`);
  const sinks = Object.entries(status.sinks)
    .filter(([, { state }]) => state === 'backing off')
    .map(([name, sink]) => `sink ${name}: ${sink.last_error?.message ?? 'down'}`);
  const api = status.api?.state === 'retrying' ? [status.api.error ?? 'the API does not listen'] : [];
  const failed = status.retention?.last?.error ?? null;
  const fleet = status.fleet ? fleetTroubles(status.fleet) : [];
  const silence = status.silence ? [`${status.silence.what}. ${status.silence.next}`] : [];
  const unrecorded = status.bans?.unrecorded ?? [];
  const bans =
    status.bans === null || unrecorded.length === 0
      ? []
      : [`${unreported(unrecorded, status.bans.path)}. ${UNREPORTED_NEXT}`];
  const refused = status.config_refused ? [refusedWords(status.config_refused)] : [];
  return [
    ...refused,
    ...sources,
    ...sinks,
    ...silence,
    ...bans,
    ...api,
    ...fleet,
    ...(failed === null ? [] : [`retention: ${failed}`]),
  ];
}

function refusedWords({ message }: RefusedConfig): string {
  return `new configuration refused: ${message}. The one before is in effect, a restart would fail`;
}

/** The status for people. */
export function render(status: DaemonStatus, now: number): string {
  const lines = [
    `postern-auditd ${status.version}, pid ${status.pid}, since ${status.started}`,
    `configuration ${status.config ?? 'defaults (no file)'}`,
    ...(status.config_refused
      ? [`  ${refusedWords(status.config_refused)} (${age(now - status.config_refused.at)} ago)`]
      : []),
    '',
  ];
  for (const [name, source] of Object.entries(status.sources)) {
    lines.push(`source ${name}: ${source.message} (for ${age(now - source.since)})`);
    lines.push(`  timeline ${source.timeline}, read up to row ${source.mark} of ${source.maxId}`);
  }
  for (const [name, sink] of Object.entries(status.sinks)) {
    lines.push(
      '',
      `sink ${name} (${sink.type}, ${sink.delivery_class}${sink.required ? ', required' : ''}): ${sink.state}`,
    );
    lines.push(`  ${sink.looks === undefined ? delivered(sink) : looked(sink.looks, now)}`);
    if (sink.last_error !== null)
      lines.push(`  last error ${age(now - sink.last_error.at)} ago: ${sink.last_error.message}`);
    const figures = Object.entries(sink.figures).filter(([, value]) => value !== 0 && value !== null);
    if (figures.length > 0) lines.push(`  ${figures.map(([key, value]) => `${key} ${value}`).join(', ')}`);
  }
  if (status.silence) lines.push('', `no bans: ${visible(status.silence.what)}`);
  if (status.bans !== null)
    lines.push(
      '',
      `bans: ${status.bans.state}, ${status.bans.recorded_total} recorded since the start`,
      ...(status.bans.unrecorded?.length
        ? [`  ${unreported(status.bans.unrecorded, status.bans.path)}`]
        : []),
    );
  if (status.api !== undefined) lines.push(`api: ${apiWords(status.api)}`);
  if (status.retention) lines.push(...renderRetention(status.retention));
  if (status.fleet) lines.push(...renderFleet(status.fleet));
  // Collectors and servers of others have their words in it.
  return `${lines.map(visible).join('\n')}\n`;
}

function delivered({ cursors, lag_events: events, lag_seconds: seconds }: LoopStatus): string {
  const places = Object.entries(cursors).map(([source, at]) => `${source}:${at.id}`);
  const lag = `${events} events behind${events > 0 ? `, ${seconds} s` : ''}`;
  return `delivered up to ${places.join(', ') || 'nothing yet'}; ${lag}`;
}

/** Of a sink that wants what is fresh: how long ago it looked at what, and what it has still to look at. */
function looked(looks: NonNullable<LoopStatus['looks']>, now: number): string {
  const places = Object.entries(looks).map(([source, { id, at, left }]) => {
    if (at === 0) return `${source}: not looked yet`;
    return `${source}:${id} (looked ${age(now - at)} ago${left > 0 ? `, up to ${left} rows below it are left` : ''})`;
  });
  return `fresh failures up to ${places.join(', ')}`;
}

function apiWords({ state, listen, error }: ApiStatus): string {
  return [
    state,
    ...(listen === null ? [] : [`on ${listen}`]),
    ...(error === null ? [] : [`(${error})`]),
  ].join(' ');
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
