import type { ApiStatus, ReportedStatus } from '../../control/status.js';
import { unreported } from '../../fail2ban/compare-bans.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { FeedStatus } from '../../shipping/feed-status.js';
import type { LoopStatus } from '../../shipping/loop-status.js';
import { renderFleet } from '../fleet/render.js';
import { renderRetention } from '../retain/render.js';
import { escapeUnsafe, folded, formatAge, formatBytes, formatCount } from '../support/terminal.js';
import { shownTime, type Times } from '../support/times.js';
import { alertLines } from './alert-lines.js';
import { refusedConfigText } from './troubles.js';

export interface StatusRenderOptions {
  /** Ms since the epoch. */
  readonly now: number;
  readonly times: Times;
  readonly width: number;
  readonly verbose: boolean;
}

/** The status as text: one line per source and sink; with `verbose` the details below it. */
export function renderStatus(status: ReportedStatus, options: StatusRenderOptions): string {
  const { now, times, width, verbose } = options;
  const up = formatAge(now - Date.parse(status.started));
  const lines = [
    `postern-auditd ${status.version}, up for ${up} since ${shownTime(status.started, times)}, pid ${status.pid}`,
    `configuration ${status.config ?? 'defaults (no file)'}`,
    ...(status.config_refused
      ? [`  ${refusedConfigText(status.config_refused)} (${formatAge(now - status.config_refused.at)} ago)`]
      : []),
    '',
  ];
  for (const [name, source] of Object.entries(status.sources)) {
    lines.push(`source ${name}: ${source.message} (for ${formatAge(now - source.since)})${read(source)}`);
    if (verbose)
      lines.push(
        `  timeline ${source.timeline}, read up to row ${source.mark} of ${source.maxId}, last looked at ${formatAge(now - source.lastLook)} ago`,
      );
  }
  if (Object.keys(status.sinks).length > 0) lines.push('');
  for (const [name, sink] of Object.entries(status.sinks)) {
    lines.push(`sink ${name}: ${sinkWords(sink, now)}`);
    if (verbose) lines.push(...more(sink, options));
  }
  if (status.silence) lines.push('', `no bans: ${status.silence.what}`);
  if (status.bans !== null)
    lines.push(
      '',
      `bans: ${status.bans.state}, ${status.bans.recorded_total} recorded since the start`,
      ...(status.bans.unrecorded?.length
        ? [`  ${unreported(status.bans.unrecorded, status.bans.path)}`]
        : []),
    );
  if (status.alerts) lines.push(...alertLines(status.alerts, now, verbose));
  if (status.api !== undefined) lines.push(`api: ${apiWords(status.api)}`);
  if (status.retention) lines.push(...renderRetention(status.retention, times));
  if (status.fleet) lines.push(...renderFleet(status.fleet, times));
  // Collectors and other servers contribute text to it.
  const shown = lines.map(escapeUnsafe).flatMap((line) => wrapped(line, width));
  return `${shown.join('\n')}\n`;
}

function wrapped(line: string, width: number): string[] {
  if (line === '') return [line];
  const indent = /^ */.exec(line)?.[0] ?? '';
  return folded([line], width, `${indent}    `);
}

/** How far the table is read. */
function read({ state, mark, maxId }: FeedStatus): string {
  if (maxId === 0 || (state !== 'reading' && state !== 'stopped')) return '';
  return mark === maxId ? `, all ${groupedDigits(maxId)} rows read` : `, row ${mark} of ${maxId} read`;
}

/** State, position and free space in one line. */
function sinkWords(sink: LoopStatus, now: number): string {
  const { state, since, last_error: error, figures } = sink;
  const down = state === 'backing off';
  const trouble = down && error !== null ? `: ${error.message}` : '';
  const bytes = (key: string) =>
    typeof figures[key] === 'number' ? formatBytes(Number(figures[key])) : null;
  const parts = [
    down ? `DOWN for ${formatAge(now - since)}` : state,
    sink.looks === undefined ? lag(sink) : fresh(sink.looks, now),
    ...(figures.paused === true ? ['paused, the disk is full'] : []),
    ...(typeof figures.target === 'string' ? [`to ${figures.target}`] : []),
    ...(bytes('file_bytes') === null ? [] : [`file ${bytes('file_bytes')}`]),
    ...(bytes('free_bytes') === null ? [] : [`${bytes('free_bytes')} free`]),
  ];
  return `${parts.join(', ')}${trouble}`;
}

function lag({ lag_events: events, lag_seconds: seconds }: LoopStatus): string {
  return events === 0
    ? 'all delivered'
    : `${formatCount(events, 'event')} (${formatAge(seconds * 1_000)}) behind`;
}

/** Of a sink that wants what is fresh: how long ago it looked, and what it has still to look at. */
function fresh(looks: NonNullable<LoopStatus['looks']>, now: number): string {
  const each = Object.values(looks);
  const left = each.reduce((sum, look) => sum + look.left, 0);
  const oldest = Math.min(...each.map(({ at }) => at));
  const looked =
    each.length === 0 || oldest === 0 ? 'not looked yet' : `looked ${formatAge(now - oldest)} ago`;
  return left === 0 ? looked : `${looked}, up to ${formatCount(left, 'row')} left to look at`;
}

/** The lines below it with --verbose. */
function more(sink: LoopStatus, { now, times }: StatusRenderOptions): string[] {
  const figures = Object.entries(sink.figures).filter(([, value]) => value !== 0 && value !== null);
  const { last_error: error } = sink;
  return [
    `  ${sink.type}, ${sink.delivery_class}${sink.required ? ', required' : ''}; ${sink.state} for ${formatAge(now - sink.since)}`,
    `  ${sink.looks === undefined ? delivered(sink) : looked(sink.looks, now)}`,
    ...(error === null
      ? []
      : [`  last error ${formatAge(now - error.at)} ago, ${times(error.at)}: ${error.message}`]),
    ...(figures.length === 0
      ? []
      : [`  ${figures.map(([key, value]) => figure(key, value, times)).join(', ')}`]),
  ];
}

/** Bytes with units, times as elsewhere, other values unchanged. */
function figure(key: string, value: unknown, times: Times): string {
  const name = key
    .replace(/(_bytes)?_total$/, '')
    .replace(/_bytes$/, '')
    .replaceAll('_', ' ');
  if (typeof value === 'number')
    return /(^|_)bytes(_total)?$/.test(key)
      ? `${name} ${formatBytes(value)}`
      : `${name} ${groupedDigits(value)}`;
  return key === 'certificate_expires' ? `${name} ${shownTime(String(value), times)}` : `${name} ${value}`;
}

function delivered({ cursors }: LoopStatus): string {
  const places = Object.entries(cursors).map(([source, at]) => `${source}:${at.id}`);
  return `delivered up to ${places.join(', ') || 'nothing yet'}`;
}

function looked(looks: NonNullable<LoopStatus['looks']>, now: number): string {
  const places = Object.entries(looks).map(([source, { id, at, left }]) => {
    if (at === 0) return `${source}: not looked yet`;
    return `${source}:${id} (looked ${formatAge(now - at)} ago${left > 0 ? `, up to ${left} rows below it are left` : ''})`;
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
