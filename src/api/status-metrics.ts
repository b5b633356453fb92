import type { RuleStatus } from '../alerts/alerts-status.js';
import type { DaemonStatus } from '../control/status.js';
import { SILENT_REASONS } from '../fail2ban/silence.js';
import type { LastRun } from '../retention/saved-state.js';
import type { RetentionStatus } from '../retention/scheduler.js';
import type { FeedStatus } from '../shipping/feed-status.js';
import type { LoopStatus } from '../shipping/loop-status.js';
import { REASONS } from '../sinks/files/ban-eligibility.js';

type MetricSample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** A metric that is read from the daemon's status. */
export interface StatusMetric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  read(status: DaemonStatus): readonly MetricSample[];
}

/** States of a source, as in `status`. */
const SOURCE_STATES = ['starting', 'reading', 'stopped', 'missing'] as const;
/** The states that are not a failure. */
const WELL: readonly string[] = SOURCE_STATES;

const one = (value: number): readonly MetricSample[] => [[{}, value]];
const perSource = (status: DaemonStatus, value: (feed: FeedStatus) => number): MetricSample[] =>
  Object.entries(status.sources).map(([source, feed]) => [{ source }, value(feed)]);
const perSink = (status: DaemonStatus, value: (sink: LoopStatus) => number): MetricSample[] =>
  Object.entries(status.sinks).map(([sink, loop]) => [{ sink, type: loop.type }, value(loop)]);

/** Reads a figure of the sinks that have it. */
function figure(status: DaemonStatus, ...names: string[]): MetricSample[] {
  return Object.entries(status.sinks).flatMap(([sink, { type, figures }]): MetricSample[] => {
    const found = names.map((name) => figures[name]).find((value) => typeof value === 'number');
    return typeof found === 'number' ? [[{ sink, type }, found]] : [];
  });
}

function lastRun(retention: RetentionStatus | null, value: (run: LastRun) => number): MetricSample[] {
  return retention?.last == null ? [] : [[{}, value(retention.last)]];
}

function perAlert({ alerts }: DaemonStatus, value: (rule: RuleStatus) => number): MetricSample[] {
  return Object.entries(alerts?.rules ?? {}).map(([action, rule]) => [
    { alert: action.replace('alert.', '') },
    value(rule),
  ]);
}

const SINK = ['sink', 'type'] as const;

/** docs/reference/METRICS.md is generated from it. Names follow Prometheus' rules: base units, `_total` for counters. */
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
    help: 'Start time of the daemon, in seconds since the epoch.',
    labels: [],
    read: ({ started }) => one(Date.parse(started) / 1_000),
  },
  {
    name: 'postern_auditd_hung',
    type: 'gauge',
    help: 'Loops that exceed their time limit; systemd then restarts the daemon.',
    labels: [],
    read: ({ hung }) => one(hung.length),
  },
  {
    name: 'postern_auditd_source_up',
    type: 'gauge',
    help: '1 if a source is read, or if Postern is stopped or not yet installed; 0 if reading fails.',
    labels: ['source'],
    read: (status) => perSource(status, ({ state }) => (WELL.includes(state) ? 1 : 0)),
  },
  {
    name: 'postern_auditd_source_state',
    type: 'gauge',
    help: '1 for the current state of a source, 0 for all others.',
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
    help: 'Time of the last read of a source, in seconds since the epoch; 0 before the first.',
    labels: ['source'],
    read: (status) => perSource(status, ({ lastLook }) => lastLook / 1_000),
  },
  {
    name: 'postern_auditd_source_highest_row',
    type: 'gauge',
    help: 'Highest row id in a source.',
    labels: ['source'],
    read: (status) => perSource(status, ({ maxId }) => maxId),
  },
  {
    name: 'postern_auditd_source_read_row',
    type: 'gauge',
    help: 'Highest row id read from a source.',
    labels: ['source'],
    read: (status) => perSource(status, ({ mark }) => mark),
  },
  {
    name: 'postern_auditd_source_timeline',
    type: 'gauge',
    help: "Number of a source's timeline, raised each time the database was found replaced.",
    labels: ['source'],
    read: (status) => perSource(status, ({ timeline }) => timeline),
  },
  {
    name: 'postern_auditd_sink_up',
    type: 'gauge',
    help: '0 while a sink is down and retried.',
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
    help: 'Events delivered by a sink, as its delivery class defines it.',
    labels: SINK,
    read: (status) => perSink(status, ({ delivered_total: total }) => total),
  },
  {
    name: 'postern_auditd_sink_lag_events',
    type: 'gauge',
    help: 'Row ids by which a sink lags.',
    labels: SINK,
    read: (status) => perSink(status, ({ lag_events: lag }) => lag),
  },
  {
    name: 'postern_auditd_sink_lag_seconds',
    type: 'gauge',
    help: 'Seconds by which a sink lags; 0 if it is up to date.',
    labels: SINK,
    read: (status) => perSink(status, ({ lag_seconds: lag }) => lag),
  },
  {
    name: 'postern_auditd_sink_errors_total',
    type: 'counter',
    help: 'Failed attempts of a sink to open or deliver.',
    labels: SINK,
    read: (status) => perSink(status, ({ errors_total: total }) => total),
  },
  {
    name: 'postern_auditd_sink_last_error_timestamp_seconds',
    type: 'gauge',
    help: "Time of a sink's last failure, in seconds since the epoch; 0 if it never failed.",
    labels: SINK,
    read: (status) => perSink(status, ({ last_error: last }) => (last?.at ?? 0) / 1_000),
  },
  {
    name: 'postern_auditd_sink_sent_bytes_total',
    type: 'counter',
    help: 'Bytes written or sent by a sink.',
    labels: SINK,
    read: (status) => figure(status, 'written_bytes_total', 'bytes_total'),
  },
  {
    name: 'postern_auditd_sink_unformatted_events_total',
    type: 'counter',
    help: 'Events that a sink could not format and sent without the texts of their rows; a defect of this daemon.',
    labels: SINK,
    read: (status) => figure(status, 'unformatted_total'),
  },
  {
    name: 'postern_auditd_sink_reconnects_total',
    type: 'counter',
    help: 'Reconnects of a network sink.',
    labels: SINK,
    read: (status) => figure(status, 'reconnects_total'),
  },
  {
    name: 'postern_auditd_sink_refused_events_total',
    type: 'counter',
    help: 'Events that a receiver over HTTP refused for good and that were passed.',
    labels: SINK,
    read: (status) => figure(status, 'refused_total'),
  },
  {
    name: 'postern_auditd_sink_retried_requests_total',
    type: 'counter',
    help: 'Requests over HTTP that were sent again.',
    labels: SINK,
    read: (status) => figure(status, 'retries_total'),
  },
  {
    name: 'postern_auditd_sink_rolls_total',
    type: 'counter',
    help: 'File rotations of a file sink.',
    labels: SINK,
    read: (status) => figure(status, 'rolled_total'),
  },
  {
    name: 'postern_auditd_sink_pruned_files_total',
    type: 'counter',
    help: 'Files deleted by a file sink, because of `keep` or a lack of disk space.',
    labels: SINK,
    read: (status) => figure(status, 'pruned_total'),
  },
  {
    name: 'postern_auditd_sink_withheld_events_total',
    type: 'counter',
    help: 'Failed logins withheld from fail2ban, by reason.',
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
    help: '1 while all or most recent failed logins are withheld from fail2ban, so that no bans are possible, by reason; else 0.',
    labels: ['reason'],
    read: ({ silence }) =>
      SILENT_REASONS.map((reason): MetricSample => [{ reason }, silence?.reason === reason ? 1 : 0]),
  },
  {
    name: 'postern_auditd_bans_total',
    type: 'counter',
    help: 'Bans reported by fail2ban since the daemon started.',
    labels: [],
    read: ({ bans }) => one(bans?.bans_total ?? 0),
  },
  {
    name: 'postern_auditd_unbans_total',
    type: 'counter',
    help: 'Unbans reported by fail2ban since the daemon started.',
    labels: [],
    read: ({ bans }) => one(bans?.unbans_total ?? 0),
  },
  {
    name: 'postern_auditd_bans_log_up',
    type: 'gauge',
    help: '1 while the ban log is read; 0 if reading it fails.',
    labels: [],
    read: ({ bans }) => one(bans === null || bans.state === 'following' ? 1 : 0),
  },
  {
    name: 'postern_auditd_bans_log_bad_lines_total',
    type: 'counter',
    help: 'Unreadable lines of the ban log.',
    labels: [],
    read: ({ bans }) => one(bans?.bad_lines_total ?? 0),
  },
  {
    name: 'postern_auditd_bans_unrecorded',
    type: 'gauge',
    help: 'Addresses banned by fail2ban without a report, at the last comparison.',
    labels: [],
    read: ({ bans }) => one(bans?.unrecorded?.length ?? 0),
  },
  {
    name: 'postern_auditd_alerts_total',
    type: 'counter',
    help: 'Alerts recorded since the daemon started, by kind.',
    labels: ['alert'],
    read: (status) => perAlert(status, ({ raised_total: total }) => total),
  },
  {
    name: 'postern_auditd_alerts_held_back_total',
    type: 'counter',
    help: 'Alerts beyond alerts.max_per_user, which one alert tells of when the hour is over.',
    labels: ['alert'],
    read: (status) => perAlert(status, ({ held_back_total: total }) => total),
  },
  {
    name: 'postern_auditd_alert_last_timestamp_seconds',
    type: 'gauge',
    help: 'Time of the entry that raised the last alert of a kind, in seconds since the epoch; 0 if there was none for two days.',
    labels: ['alert'],
    read: (status) => perAlert(status, ({ last }) => (last?.at ?? 0) / 1_000),
  },
  {
    name: 'postern_auditd_alerts_remembered',
    type: 'gauge',
    help: 'Entries that the alerts remember: addresses and users that are counted, networks of users, alerts, users whose changes are counted, users of whom alerts are held back.',
    labels: ['what'],
    read: ({ alerts }) =>
      Object.entries(alerts?.remembered ?? {}).map(([what, count]): MetricSample => [{ what }, count]),
  },
  {
    name: 'postern_auditd_alerts_up',
    type: 'gauge',
    help: '0 while alerts cannot be recorded; 1 if they can, or are turned off.',
    labels: [],
    read: ({ alerts }) => one(alerts?.error == null ? 1 : 0),
  },
  {
    name: 'postern_auditd_retention_enabled',
    type: 'gauge',
    help: '1 if retention deletes old rows from the table.',
    labels: [],
    read: ({ retention }) => one(retention?.enabled === true ? 1 : 0),
  },
  {
    name: 'postern_auditd_retention_last_run_timestamp_seconds',
    type: 'gauge',
    help: 'End of the last retention run, in seconds since the epoch; absent before the first.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ end }) => end / 1_000),
  },
  {
    name: 'postern_auditd_retention_last_run_success',
    type: 'gauge',
    help: '1 if the last retention run succeeded, 0 if it failed.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ error }) => (error === null ? 1 : 0)),
  },
  {
    name: 'postern_auditd_retention_last_run_deleted_rows',
    type: 'gauge',
    help: 'Rows deleted by the last retention run.',
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ deleted }) => deleted),
  },
  {
    name: 'postern_auditd_retention_last_run_lock_seconds',
    type: 'gauge',
    help: "Longest time that one commit of the last retention run held Postern's write lock.",
    labels: [],
    read: ({ retention }) => lastRun(retention, ({ lock_ms: lock }) => lock / 1_000),
  },
];
