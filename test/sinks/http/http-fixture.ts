import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createClassifier } from '../../../src/audit/catalog.js';
import { type HttpSinkConfig, httpSink } from '../../../src/config/http.js';
import { config as schema } from '../../../src/config/schema.js';
import type { WebhookSinkConfig } from '../../../src/config/webhook.js';
import Database from '../../../src/load-sqlite.js';
import { createAuditTable, createRecorder, type NewEntry } from '../../../src/recorder/recorder.js';
import type { LoopStatus } from '../../../src/shipping/loop-status.js';
import { Shipper } from '../../../src/shipping/shipper.js';
import { State } from '../../../src/shipping/state.js';
import { createHttpSink } from '../../../src/sinks/http/http-sink.js';
import type { SinkDeps } from '../../../src/sinks/sink.js';
import { createWebhookSink } from '../../../src/sinks/webhook/webhook-sink.js';
import { createOwnSource } from '../../../src/source/auditd-source.js';
import { createPosternSource } from '../../../src/source/postern-source.js';
import type { FaultyReceiver, ReceiverOptions } from './receiver.js';

const PATHS = {
  elasticsearch: '/audit/_bulk',
  otlp: '/v1/logs',
  'splunk-hec': '/services/collector/event',
} as const;

/** The configuration of a sink that sends to a receiver of a test. */
export function configFor(
  receiver: FaultyReceiver,
  protocol: ReceiverOptions['protocol'],
  more: Record<string, unknown> = {},
): HttpSinkConfig {
  const url = `http://127.0.0.1:${receiver.port}${PATHS[protocol]}`;
  return httpSink.parse({ type: 'http', protocol, url, start: 'beginning', ...more });
}

/** A real table, the real shipping loop and a sink over HTTP. */
export class HttpRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-http-'));
  private readonly database = join(this.directory, 'posternproxy.db');
  private readonly db = new Database(this.database);
  private state: State | null = null;
  private shipper: Shipper | null = null;
  /** Messages of the log, `level: text`. */
  readonly log: string[] = [];

  constructor(
    private readonly config: HttpSinkConfig | WebhookSinkConfig,
    private readonly redefined: Partial<SinkDeps> = {},
  ) {
    this.db.pragma('journal_mode = WAL');
    this.db.pragma('synchronous = OFF');
    createAuditTable(this.db);
  }

  /** Adds one row. */
  record(entry: NewEntry): number {
    return createRecorder(this.db).record(entry);
  }

  /** Rows of several kinds and servers; a row for which `details` is given has them. @returns the last id */
  append(count: number, details: (n: number) => unknown = (n) => ({ n, pad: 'x'.repeat(n % 50) })): number {
    const recorder = createRecorder(this.db);
    let last = 0;
    this.db.transaction(() => {
      for (let n = 0; n < count; n++) {
        const entry: NewEntry = {
          action: n % 3 === 0 ? 'auth.login_failure' : 'proxy_host.update',
          address: n % 3 === 0 ? '203.0.113.7' : null,
          user: { id: n, name: n % 5 === 0 ? 'Zoë' : 'eve', email: 'eve@example.net' },
          server: n % 1_000 < 500 ? 'gateway-1' : 'gateway-2',
          details: details(n) as Record<string, unknown>,
        };
        last = recorder.record(entry);
      }
    })();
    return last;
  }

  async start(): Promise<void> {
    const state = new State(join(this.directory, 'state'));
    this.state = state;
    const shared = {
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: (details: string | null) => details,
      clock: Date.now,
      server: 'here',
    };
    const log = pino(
      { level: 'info', base: null },
      { write: (line: string) => this.log.push((JSON.parse(line) as { msg: string }).msg) },
    );
    const source = createPosternSource({
      ...shared,
      config: schema.parse({ source: { database: this.database, poll_interval: '20ms' } }).source,
      history: state.historyOf('postern'),
      privateDirectory: join(this.directory, 'copies'),
      log,
    });
    const own = createOwnSource({
      ...shared,
      db: state.db,
      table: 'audit_log',
      history: state.historyOf('auditd'),
    });
    const record = (entry: NewEntry) => {
      createRecorder(state.db).record(entry);
      own.notify();
    };
    const deps = { name: 'http', clock: Date.now, minFree: 1, log, record, ...this.redefined };
    const { config } = this;
    const sink = config.type === 'http' ? createHttpSink(config, deps) : createWebhookSink(config, deps);
    this.shipper = new Shipper({
      sources: [source, own],
      sinks: [{ name: 'http', config: this.config, sink }],
      state,
      clock: Date.now,
      log,
      onReplaced: () => undefined,
    });
    await this.shipper.start();
  }

  get status(): LoopStatus {
    const status = this.shipper?.status().sinks.http;
    if (status === undefined) throw new Error('not started');
    return status;
  }

  /** Row to which Postern's table is delivered. */
  get cursor(): number {
    return this.shipper?.loop('http').cursor('postern') ?? 0;
  }

  replay(): void {
    const all = { fromId: null, toId: null, fromTime: null, toTime: null, rate: null };
    this.shipper?.loop('http').replay({ source: 'postern', ...all });
  }

  get replayed(): number {
    return this.shipper?.loop('http').replayStatus()?.sent ?? 0;
  }

  /** What own events of an action say. */
  ownEvents(action: string): Array<Record<string, unknown>> {
    const rows = this.state?.db
      .prepare('SELECT details FROM audit_log WHERE action = ? ORDER BY id')
      .pluck()
      .all(action) as string[];
    return rows.map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  /** `event.id` of Postern's rows. */
  async until(isReached: () => boolean, what: string, limitMs = 120_000): Promise<void> {
    const deadline = Date.now() + limitMs;
    while (!isReached()) {
      if (Date.now() > deadline)
        throw new Error(
          `${what}: not within ${limitMs} ms: ${JSON.stringify(this.status)}\n${this.log.join('\n')}`,
        );
      await sleep(10);
    }
  }

  /** Until all rows of Postern's table are delivered or passed. */
  async shipped(): Promise<void> {
    const last = this.db.prepare('SELECT coalesce(max(id), 0) FROM audit_log').pluck().get() as number;
    await this.until(() => this.cursor >= last, `cursor at ${last}`);
  }

  async stop(): Promise<void> {
    await this.shipper?.stop();
    this.state?.close();
    this.shipper = null;
    this.state = null;
  }

  async close(): Promise<void> {
    if (this.shipper !== null) await this.stop();
    this.db.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
