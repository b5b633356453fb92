import { copyFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type Alerts, createAlerts } from '../../src/alerts/alerts.js';
import { createClassifier } from '../../src/audit/catalog.js';
import { type ConfigInput, config as schema } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import { Shipper } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import { createPosternSource } from '../../src/source/postern-source.js';
import type { AuditSource } from '../../src/source/source.js';
import { MemorySink } from '../shipping/shipping-fixture.js';

export interface AlertRow {
  readonly id: number;
  readonly action: string;
  readonly user: string | null;
  readonly address: string | null;
  readonly details: { readonly related: readonly string[] } & Readonly<Record<string, unknown>>;
}

/** A row of Postern's table; what is left out is null. */
export interface NewRow {
  readonly action: string;
  readonly type?: string;
  readonly resource?: string;
  readonly user?: string | null;
  readonly userId?: number;
  readonly email?: string;
  readonly address?: string | null;
  /** Its time, ms before the clock. */
  readonly ago?: number;
}

/** A Postern database, a state, and a shipper with alerts that reads only when told to. */
export class AlertsRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-alerts-'));
  readonly database = join(this.directory, 'posternproxy.db');
  readonly sink = new MemorySink();
  alerts: Alerts | null = null;
  /** Pages that were read again, the newest first, to count or learn what was not seen live. */
  readsBackwards = 0;
  private writer = this.openWriter();
  private state: State | null = null;
  private shipper: Shipper | null = null;
  private wake: () => unknown = () => undefined;
  private stateDirectory = join(this.directory, 'state');
  private offset = 0;
  private crashes = 0;
  readonly clock = () => Date.now() + this.offset;

  constructor(private config: ConfigInput = {}) {
    createAuditTable(this.writer);
  }

  get db(): Database {
    return this.writer;
  }

  /** Time passes, or the clock is set back. */
  pass(ms: number): void {
    this.offset += ms;
  }

  /** @returns its id */
  row({
    action,
    type = 'auth',
    resource,
    user = null,
    userId,
    email,
    address = null,
    ago = 0,
  }: NewRow): number {
    const time = new Date(this.clock() - ago).toISOString().slice(0, 19).replace('T', ' ');
    return Number(
      this.writer
        .prepare(
          `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, ip_address)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(time, userId ?? null, user, email ?? null, action, type, resource ?? null, address)
        .lastInsertRowid,
    );
  }

  fail(count: number, row: Partial<NewRow>): number[] {
    return Array.from({ length: count }, () => this.row({ action: 'login_failure', ...row }));
  }

  login(user: string, address: string | null, more: Partial<NewRow> = {}): number {
    return this.row({ action: 'login_success', user, address, ...more });
  }

  remove(user: string, more: Partial<NewRow> = {}): number {
    return this.row({ action: 'delete', type: 'proxy_host', user, ...more });
  }

  edit(id: number, values: Readonly<Record<string, string | null>>): void {
    this.pass(1_001); // two edits of a row within a second may count as one
    const set = Object.keys(values).map((name) => `${name} = ?`);
    this.writer
      .prepare(`UPDATE audit_log SET ${set.join(', ')} WHERE id = ?`)
      .run(...Object.values(values), id);
  }

  backup(): void {
    rmSync(join(this.directory, 'backup'), { force: true });
    this.writer.exec(`VACUUM INTO '${join(this.directory, 'backup')}'`);
  }

  restore(): void {
    this.writer.close();
    for (const end of ['-wal', '-shm']) rmSync(`${this.database}${end}`, { force: true });
    copyFileSync(join(this.directory, 'backup'), this.database);
    this.writer = this.openWriter();
  }

  async start(config: ConfigInput = this.config): Promise<void> {
    this.config = config;
    const state = new State(this.stateDirectory, this.clock);
    this.state = state;
    const log = pino({ level: 'silent' });
    const parsed = schema.parse({ ...config, source: { database: this.database } });
    const { clock } = this;
    const shared = {
      server: 'here',
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: (details: string | null) => details,
      clock,
    };
    const posternSource = createPosternSource({
      ...shared,
      config: parsed.source,
      history: state.historyOf('postern'),
      privateDirectory: join(this.directory, 'copies'),
      log,
    });
    const source: AuditSource = {
      name: 'postern',
      read: (request) => {
        if (request.before !== undefined) this.readsBackwards++;
        return posternSource.read(request);
      },
      row: (id, timeline) => posternSource.row(id, timeline),
      edits: (request) => posternSource.edits?.(request) ?? { state: 'reading', changed: [], upTo: 0 },
      remade: (kept) => posternSource.remade?.(kept) ?? impossible(),
      watch: (onWake) => {
        this.wake = onWake;
        return { close: () => undefined };
      },
    };
    const own = createOwnSource({
      ...shared,
      db: state.db,
      table: 'audit_log',
      history: state.historyOf('auditd'),
    });
    const onRecorded = () => own.notify();
    this.alerts = createAlerts({ config: parsed, state, source, clock, log, onRecorded });
    const sinkConfig = { ...schema.parse({}).sinks.audit, type: 'file' } as never;
    this.shipper = new Shipper({
      sources: [source, own],
      sinks: [{ name: 'good', sink: this.sink, config: sinkConfig }],
      state,
      clock,
      log,
      editsMs: 2,
      onReplaced: () => undefined,
      onRevised: onRecorded,
      observer: this.alerts,
    });
    this.alerts?.start();
    await this.shipper.start();
  }

  /** The first start of another installation on the same database. */
  async startAfresh(): Promise<void> {
    this.stateDirectory = join(this.directory, 'fresh');
    await this.start();
  }

  /** Until the networks of the table are known. */
  async learned(): Promise<void> {
    if (this.config.alerts?.new_network?.enabled === false) return;
    for (let tries = 0; this.state?.note('alert_networks_learned') !== 'done'; tries++) {
      if (tries > 1_000) throw new Error('networks are not learned');
      this.alerts?.tick();
      await sleep(1);
    }
  }

  /** Has it read, and waits for nothing. */
  poke(): void {
    this.wake();
  }

  /** Until all rows are read, with no regard to the sink. */
  async read(): Promise<void> {
    const last = Number(this.writer.prepare('SELECT coalesce(max(id), 0) FROM audit_log').pluck().get());
    for (let tries = 0; (this.state?.mark('postern')?.id ?? 0) < last; tries++) {
      if (tries > 10_000) throw new Error('rows are not read');
      this.wake();
      await sleep(tries === 0 ? 0 : 1);
    }
    this.alerts?.tick();
  }

  /** Until the sink has all that there is. */
  async settle(): Promise<void> {
    for (let quiet = 0, tries = 0; quiet < 3; tries++) {
      if (tries > 3_000) throw new Error(`does not settle: ${JSON.stringify(this.shipper?.status())}`);
      const found = this.wake();
      this.alerts?.tick();
      await sleep(1);
      const { sources, sinks } = this.shipper?.status() ?? { sources: {}, sinks: {} };
      const lags = Object.values(sinks).some(
        ({ lag_events: lag, state, cursors }) =>
          lag > 0 ||
          state !== 'waiting for events' ||
          cursors.postern?.timeline !== sources.postern?.timeline,
      );
      quiet = found === true || lags ? 0 : quiet + 1;
    }
  }

  /** The alerts in the daemon's own table. */
  raised(): AlertRow[] {
    const rows = this.state?.db
      .prepare(
        `SELECT id, action, user_name AS user, ip_address AS address, details FROM audit_log
         WHERE resource_type = 'alert' AND revision_of IS NULL ORDER BY id`,
      )
      .all() as Array<{ details: string } & Omit<AlertRow, 'details'>>;
    return rows.map((row) => ({ ...row, details: JSON.parse(row.details) as AlertRow['details'] }));
  }

  /** Until another history of Postern's table was found. */
  async replaced(): Promise<void> {
    for (let tries = 0; this.state?.mark('postern')?.timeline !== 2; tries++) {
      if (tries > 1_000) throw new Error('no other history was found');
      await this.settle();
    }
    await this.settle();
  }

  /** `action` of each. */
  actions(): string[] {
    return this.raised().map(({ action }) => action);
  }

  /** The process dies; what was not committed is gone. */
  async crash(whileDown: (stateDirectory: string) => void = () => undefined): Promise<void> {
    const left = `${this.stateDirectory}-${++this.crashes}`;
    cpSync(this.stateDirectory, left, { recursive: true });
    const had = this.sink.got.length;
    await this.stop().catch(() => undefined); // of no account: the process is dead
    this.sink.got.length = had;
    this.sink.isAfterCrash = true;
    this.stateDirectory = left;
    whileDown(left);
    await this.start();
  }

  /** The connection of the state, to make its writes fail. */
  get stateDb(): Database {
    if (this.state === null) throw new Error('not started');
    return this.state.db;
  }

  async stop(): Promise<void> {
    this.alerts?.stop();
    await this.shipper?.stop();
    this.state?.close();
    this.shipper = null;
  }

  async close(): Promise<void> {
    await this.stop();
    this.writer.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private openWriter(): Database {
    const db = new Database(this.database);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = OFF');
    return db;
  }
}

export async function withAlerts(
  config: ConfigInput,
  work: (rig: AlertsRig) => Promise<void>,
): Promise<void> {
  const rig = new AlertsRig(config);
  try {
    await rig.start();
    await rig.settle();
    await work(rig);
  } finally {
    await rig.close();
  }
}

function impossible(): never {
  throw new Error('there is none');
}
