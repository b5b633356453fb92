import type { DaemonStatus } from '../control/status.js';
import { SILENT_REASONS } from '../fail2ban/silence.js';
import type { LastRun } from '../retention/saved-state.js';
import type { RetentionStatus } from '../retention/scheduler.js';
import type { LoopStatus } from '../shipping/loop-status.js';
import type { FeedStatus } from '../shipping/source-feed.js';
import { REASONS } from '../sinks/files/ban-eligibility.js';

type MetricSample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** A metric that is read from what the daemon says of itself. */
export interface StatusMetric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  read(status: DaemonStatus): readonly MetricSample[];
}

/** States of a source, as `status` has them. */
const SOURCE_STATES = ['starting', 'reading', 'stopped', 'missing'] as const;
/** Those in which there is nothing to complain of. */
const WELL: readonly string[] = SOURCE_STATES;

const one = (value: number): readonly MetricSample[] => [[{}, value]];
const perSource = (status: DaemonStatus, value: (feed: FeedStatus) => number): MetricSample[] =>
  Object.entries(status.sources).map(([source, feed]) => [{ source }, value(feed)]);
const perSink = (status: DaemonStatus, value: (sink: LoopStatus) => number): MetricSample[] =>
  Object.entries(status.sinks).map(([sink, loop]) => [{ sink, type: loop.type }, value(loop)]);

/** Of the sinks that have such a figure. */
function figure(status: DaemonStatus, ...names: string[]): MetricSample[] {
  return Object.entries(status.sinks).flatMap(([sink, { type, figures }]): MetricSample[] => {
    const found = names.map((name) => figures[name]).find((value) => typeof value === 'number');
    return typeof found === 'number' ? [[{ sink, type }, found]] : [];
  });
}

function lastRun(retention: RetentionStatus | null, value: (run: LastRun) => number): MetricSample[] {
  return retention?.last == null ? [] : [[{}, value(retention.last)]];
}

const SINK = ['sink', 'type'] as const;

/** docs/reference/METRICS.md is made of it. Names follow Prometheus' rules: base units, `_total` for what only grows. */
export const STATUS_METRICS: readonly StatusMetric[] = [
  {
    name: 'postern_auditd_build_info',
    type: 'gauge',
    help: 'Always 1; the version is a label.',
    labels: ['version'],
    read: ({ version }) => [[{ version }, 1]],
  },
  {
    name: 'postern_auditd_start_time_seconds',
    type: 'gauge',
    help: 'When the daemon was started, in seconds since the epoch.',
    labels: [],
    read: ({ started }) => one(Date.parse(started) / 1_000),
  },
  {
    name: 'postern_auditd_hung',
    type: 'gauge',
    help: 'How many loops take longer than they may; systemd restarts the daemon then.',
    labels: [],
    read: ({ hung }) => one(hung.length),
  },
  {
    name: 'postern_auditd_source_up',
    type: 'gauge',
    help: '1 if a source is read, or has nothing to read as Postern is stopped or not there yet; 0 if it fails.',
    labels: ['source'],
    read: (status) => perSource(status, ({ state }) => (WELL.includes(state) ? 1 : 0)),
  },
  {
    name: 'postern_auditd_source_state',
    type: 'gauge',
    help: '1 for the state in which a source is, 0 for the others.',
    labels: ['source', 'state'],
    read: ({ sources }) =>
      Object.entries(sources).flatMap(([source, feed]) =>
        [...new Set([...SOURCE_STATES, feed.state])].map(
          (state): MetricSample => [{ source, state }, state === feed.state ? 1 : 0],
        ),
      ),
  },
  {
    name: 'postern_auditd_source_last_look_timestamp_seconds',
    type: 'gauge',
    help: 'When a source was last looked at, in seconds since the epoch; 0 for not yet.',
    labels: ['source'],
    read: (status) => perSource(status, ({ lastLook }) => lastLook / 1_000),
  },
  {
    name: 'postern_auditd_source_highest_row',
    type: 'gauge',
    help: 'The highest row id that a source has.',
    labels: ['source'],
    read: (status) => perSource(status, ({ maxId }) => maxId),
  },
  {
    name: 'postern_auditd_source_read_row',
    type: 'gauge',
    help: 'The highest row id that has been read of a source.',
    labels: ['source'],
    read: (status) => perSource(status, ({ mark }) => mark),
  },
  {
    name: 'postern_auditd_source_timeline',
    type: 'gauge',
    help: 'Number of the history of a source; one more each time another database was found behind its path.',
    labels: ['source'],
    read: (status) => perSource(status, ({ timeline }) => timeline),
  },
  {
    name: 'postern_auditd_sink_up',
    type: 'gauge',
    help: '0 while a sink is down and tried again.',
    labels: SINK,
    read: (status) =>
      perSink(status, ({ state }) => (state === 'backing off' || state === 'stopped' ? 0 : 1)),
  },
  {
    name: 'postern_auditd_sink_required',
    type: 'gauge',
    help: '1 if retention waits for this sink.',
    labels: SINK,
    read: (status) => perSink(status, ({ required }) => (required ? 1 : 0)),
  },
  {
    name: 'postern_auditd_sink_delivered_events_total',
    type: 'counter',
    help: 'Events that a sink has delivered, by the promise of its delivery class.',
    labels: SINK,
    read: (status) => perSink(status, ({ delivered_total: total }) => total),
  },
  {
    name: 'postern_auditd_sink_lag_events',
    type: 'gauge',
    help: 'How many row ids a sink is behind.',
    labels: SINK,
    read: (status) => perSink(status, ({ lag_events: lag }) => lag),
  },
  {
    name: 'postern_auditd_sink_lag_seconds',
    type: 'gauge',
    help: 'For how long a sink has not had everything; 0 if it has.',
    labels: SINK,
    read: (status) => perSink(status, ({ lag_seconds: lag }) => lag),
  },
  {
    name: 'postern_auditd_sink_errors_total',
    type: 'counter',
    help: 'Failed openings and deliveries of a sink.',
    labels: SINK,
    read: (status) => perSink(status, ({ errors_total: total }) => total),
  },
  {
    name: 'postern_auditd_sink_last_error_timestamp_seconds',
    type: 'gauge',
    help: 'When a sink last failed, in seconds since the epoch; 0 for never.',
    labels: SINK,
    read: (status) => perSink(status, ({ last_error: last }) => (last?.at ?? 0) / 1_000),
  },
  {
    name: 'postern_auditd_sink_sent_bytes_total',
    type: 'counter',
    help: 'Bytes that a sink has written or sent.',
    labels: SINK,
    read: (status) => figure(status, 'written_bytes_total', 'bytes_total'),
  },
  {
    name: 'postern_auditd_sink_unformatted_events_total',
    type: 'counter',
    help: 'Events that the format of a sink could not take and that came without the texts of their rows; a fault of this daemon.',
    labels: SINK,
    read: (status) => figure(status, 'unformatted_total'),
  },
  {
    name: 'postern_auditd_sink_reconnects_total',
    type: 'counter',
    help: 'How often a network sink has connected anew.',
    labels: SINK,
    read: (status) => figure(status, 'reconnects_total'),
  },
  {
    name: 'postern_auditd_sink_rolls_total',
    type: 'counter',
    help: 'How often a file sink has begun another file.',
    labels: SINK,
    read: (status) => figure(status, 'rolled_total'),
  },
  {
    name: 'postern_auditd_sink_pruned_files_total',
    type: 'counter',
    help: 'Files that a file sink has removed, by `keep` or for want of space.',
    labels: SINK,
    read: (status) => figure(status, 'pruned_total'),
  },
  {
    name: 'postern_auditd_sink_withheld_events_total',
    type: 'counter',
    help: 'Failed logins that were kept from fail2ban, by reason.',
    labels: ['sink', 'reason'],
    read: ({ sinks }) =>
      Object.entries(sinks).flatMap(([sink, { figures }]) =>
        REASONS.flatMap((reason): MetricSample[] => {
          const value = figures[`withheld_${reason}_total`];
          return typeof value === 'number' ? [[{ sink, reason }, value]] : [];
        }),
      ),
  },
  {
    name: 'postern_auditd_failures_withheld',
    type: 'gauge',
    help: '1 while all or most recent failed logins are kept from fail2ban, so that nobody can be banned, by the reason; else 0.',
    labels: ['reason'],
    read: ({ silence }) =>
      SILENT_REASONS.map((reason): MetricSample => [{ reason }, silence?.reason === reason ? 1 : 0]),
  },
  {
    name: 'postern_auditd_bans_total',
    type: 'counter',
    help: 'Bans that fail2ban has reported since the start of the daemon.',
    labels: [],
    read: ({ bans }) => one(bans?.bans_total ?? 0),
  },
  {
    name: 'postern_auditd_unbans_total',
    type: 'counter',
    help: 'Ends of bans that fail2ban has reported since the start of the daemon.',
    labels: [],
    read: ({ bans }) => one(bans?.unbans_total ?? 0),
  },
  {
    name: 'postern_auditd_bans_log_up',
    type: 'gauge',
    help: '1 while what fail2ban reports is read; 0 if it can not be.',
    labels: [],
    read: ({ bans }) => one(bans === null || bans.state === 'following' ? 1 : 0),
  },
  {
    name: 'postern_auditd_bans_log_bad_lines_total',
    type: 'counter',
    help: 'Lines of the log of bans that said nothing readable.',
    labels: [],
    read: ({ bans }) => one(bans?.bad_lines_total ?? 0),
  },
  {
    name: 'postern_auditd_bans_unrecorded',
    type: 'gauge',
    help: 'Addresses that fail2ban bans and has not reported, at the last comparison.',
    labels: [],
    read: ({ bans }) => one(bans?.unrecorded?.length ?? 0),
  },
  {
    name: 'postern_auditd_retention_enabled',
    type: 'gauge',
    help: '1 if old rows are removed from the table.',
    labels: [],
    read: ({ retention }) => one(retention?.enabled === true ? 1 : 0),
  },
  {
    name: 'postern_auditd_retention_last_run_timestamp_seconds',
    type: 'gauge',
    help: 'When the last run of retention ended, in seconds since the epoch; not there before the first.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ end }) => end / 1_000),
  },
  {
    name: 'postern_auditd_retention_last_run_success',
    type: 'gauge',
    help: '1 if the last run of retention ended well, 0 if it failed.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ error }) => (error === null ? 1 : 0)),
  },
  {
    name: 'postern_auditd_retention_last_run_deleted_rows',
    type: 'gauge',
    help: 'Rows that the last run of retention has archived and removed.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ deleted }) => deleted),
  },
  {
    name: 'postern_auditd_retention_last_run_lock_seconds',
    type: 'gauge',
    help: "The longest that Postern's write lock was held for one commit of the last run.",
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ lock_ms: lock }) => lock / 1_000),
  },
];
