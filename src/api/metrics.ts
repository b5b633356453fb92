import { readdirSync } from 'node:fs';
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { DaemonStatus } from '../control/status.js';
import type { ApiEnv } from './context.js';
import { STATUS_METRICS } from './status-metrics.js';

/** The metrics of the API and of the daemon's status, for /metrics. They outlive a reload. */
export class ApiMetrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly requests: Counter<'method' | 'route' | 'status'>;
  readonly duration: Histogram<'route'>;
  readonly authFailures: Counter<'answer'>;
  readonly authFailuresRecorded: Counter;
  readonly streamClientsDropped: Counter;
  readonly streamClients: Gauge;
  /** Returns the number of connections; set by the listener. */
  connections: () => number = () => 0;
  private readonly registry = new Registry();

  constructor(status: () => DaemonStatus, sessions: () => number) {
    const registers = [this.registry];
    this.registerStatus(status);
    this.requests = new Counter({
      name: 'postern_auditd_api_requests_total',
      help: 'Answered requests, by method, route and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.duration = new Histogram({
      name: 'postern_auditd_api_request_duration_seconds',
      help: 'Time from a request to the first bytes of its answer.',
      labelNames: ['route'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
      registers,
    });
    this.authFailures = new Counter({
      name: 'postern_auditd_api_auth_failures_total',
      help: 'Requests and logins with an invalid token, by answer: wrong, expired or limited.',
      labelNames: ['answer'],
      registers,
    });
    this.authFailuresRecorded = new Counter({
      name: 'postern_auditd_api_auth_failures_recorded_total',
      help: 'Those of them recorded as failed logins, which fail2ban counts.',
      registers,
    });
    this.streamClients = new Gauge({
      name: 'postern_auditd_api_stream_clients',
      help: 'Connected clients of live streams.',
      registers,
    });
    this.streamClientsDropped = new Counter({
      name: 'postern_auditd_api_stream_clients_dropped_total',
      help: 'Live stream clients dropped because they did not read, or because their access ended.',
      registers,
    });
    this.registerGauge('postern_auditd_api_connections', 'Connections to the API.', () => this.connections());
    this.registerGauge('postern_auditd_api_sessions', 'Browser sessions that are logged in.', sessions);
    this.registerProcess();
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  /** Name, type and help of all metrics, for docs/reference/METRICS.md. */
  async described(): Promise<ReadonlyArray<{ name: string; type: string; help: string }>> {
    const all = await this.registry.getMetricsAsJSON();
    return all.map(({ name, type, help }) => ({ name, type: String(type), help }));
  }

  /** The metrics that are read from the daemon's status. */
  private registerStatus(status: () => DaemonStatus): void {
    const registers = [this.registry];
    for (const { name, help, type, labels, read } of STATUS_METRICS) {
      const labelNames = [...labels];
      if (type === 'gauge') {
        new Gauge({
          name,
          help,
          labelNames,
          registers,
          collect() {
            this.reset();
            for (const [of, value] of read(status())) this.set(of, value);
          },
        });
      } else {
        new Counter({
          name,
          help,
          labelNames,
          registers,
          collect() {
            this.reset();
            for (const [of, value] of read(status())) this.inc(of, value);
          },
        });
      }
    }
  }

  /** The process metrics that every exporter has (Prometheus, Writing client libraries). */
  private registerProcess(): void {
    const registers = [this.registry];
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the process, user and system.',
      registers,
      collect() {
        const { user, system } = process.cpuUsage();
        this.reset();
        this.inc((user + system) / 1e6);
      },
    });
    this.registerGauge('process_resident_memory_bytes', 'Resident memory of the process.', () =>
      process.memoryUsage.rss(),
    );
    this.registerGauge('process_start_time_seconds', 'Start time of the process.', () =>
      Math.round(Date.now() / 1_000 - process.uptime()),
    );
    this.registerGauge('process_open_fds', 'Open files and sockets.', openFiles);
  }

  private registerGauge(name: string, help: string, read: () => number): void {
    const registers = [this.registry];
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS', 'PUT', 'PATCH']);

/** Counts requests by route pattern. There are few patterns, so requests can't create new series. */
export function countRequests(metrics: ApiMetrics) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const begin = performance.now();
    await next();
    const found = routePath(c, -1);
    const route = found === '*' || found === '/*' ? 'none' : (found.split('{')[0] ?? '');
    const method = METHODS.has(c.req.method) ? c.req.method : 'other';
    metrics.requests.inc({ method, route, status: String(c.res.status) });
    metrics.duration.observe({ route }, (performance.now() - begin) / 1_000);
  });
}
