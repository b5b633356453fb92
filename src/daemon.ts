import { once } from 'node:events';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { type Alerts, createAlerts } from './alerts/alerts.js';
import { ApiService } from './api/service.js';
import { createClassifier } from './audit/catalog.js';
import type { SourceName } from './audit/event.js';
import { createRedactor } from './audit/redaction.js';
import { diffConfig } from './config/config-diff.js';
import { hubDatabase, type LoadedConfig, loadConfig } from './config/load.js';
import { changedValues } from './config/reload-changes.js';
import { type RefusedConfig, type Reloaded, refusalOf, reloadedOf } from './config/reload-result.js';
import { type ControlSocket, openControlSocket } from './control/server.js';
import type { DaemonStatus } from './control/status.js';
import { messageOf } from './errors.js';
import { BanRecorder } from './fail2ban/ban-recorder.js';
import { sinkWarnings } from './fail2ban/check-sink-configured.js';
import { createJail } from './fail2ban/helper-client.js';
import { SilenceWatch } from './fail2ban/silence-watch.js';
import { createFleet } from './fleet/create-fleet.js';
import type { Fleet } from './fleet/fleet.js';
import { renewJail, sentence } from './next-steps.js';
import { createRecorder, type NewEntry } from './recorder/recorder.js';
import { Retention } from './retention/scheduler.js';
import { type Lock, takeLock } from './shipping/lock.js';
import type { LostRows } from './shipping/lost-rows.js';
import { parseReplay } from './shipping/replay.js';
import { reportMissingEvents } from './shipping/report-missing-events.js';
import { openRowNotes, reportQuarantined } from './shipping/row-quarantine.js';
import { type ConfiguredSink, Shipper } from './shipping/shipper.js';
import { State } from './shipping/state.js';
import { createSink } from './sinks/create-sink.js';
import { createOwnSource, type OwnSource } from './source/auditd-source.js';
import type { RowNotes } from './source/crash-notes.js';
import { createPosternSource } from './source/postern-source.js';
import { createNotifier, type Notifier } from './systemd/notify.js';
import { statusLine } from './systemd/status-line.js';
import { startHeartbeat } from './systemd/watchdog.js';
import { VERSION } from './version.js';

export interface DaemonOptions {
  /** Null: the default path, or the defaults if there is no file. */
  readonly configPath: string | null;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly clock?: () => number;
}

/** The parts that are built from one configuration, and replaced at a reload. */
interface Runtime {
  readonly shipper: Shipper;
  readonly own: OwnSource;
  readonly bans: BanRecorder;
  readonly silence: SilenceWatch;
  readonly retention: Retention;
  readonly fleet: Fleet | null;
  readonly alerts: Alerts | null;
}

/** Connects the parts. Their logic is in their folders. */
export class Daemon {
  private readonly clock: () => number;
  private readonly started: number;
  private readonly notifier: Notifier;
  private loaded: LoadedConfig;
  private lock: Lock | null = null;
  private state: State | null = null;
  private rows: RowNotes | null = null;
  private works: Runtime | null = null;
  private control: ControlSocket | null = null;
  private api: ApiService | null = null;
  private heartbeat: { beat(): void; stop(): void } | null = null;
  private reloading: Promise<Reloaded | null> = Promise.resolve(null);
  /** The configuration that was rejected last; null once a valid one was loaded. */
  private refused: RefusedConfig | null = null;
  /** Aborted when the daemon stops: a reload then stops waiting. */
  private readonly stopping = new AbortController();
  private readonly stopped: Promise<unknown> = once(this.stopping.signal, 'abort');

  /** @throws AuditdError if the configuration is not valid */
  constructor(private readonly options: DaemonOptions) {
    this.clock = options.clock ?? Date.now;
    this.started = this.clock();
    this.notifier = createNotifier(options.env);
    this.loaded = loadConfig(options.configPath, options.env);
  }

  /** @throws AuditdError `LOCKED`, `STATE_UNUSABLE`, `STATE_NEWER` */
  async start(): Promise<void> {
    const { config } = this.loaded;
    this.lock = takeLock(config.state);
    this.state = new State(config.state, this.clock);
    this.rows = openRowNotes(this.state, () => this.loaded.config);
    this.works = await this.build(this.state, this.loaded);
    reportQuarantined(this.rows, this.recordNow, this.options.log);
    reportMissingEvents(this.state.db, this.clock, this.options.log);
    this.recordNow({ action: 'daemon.start', details: { version: VERSION, config: this.loaded.path } });
    const api = this.serve(this.state);
    await api.apply(config); // before the socket, which serves it too
    const [runtime = null] = this.options.env.RUNTIME_DIRECTORY?.split(':') ?? [];
    this.control = await openControlSocket(config.control, runtime, {
      status: () => this.status(),
      reload: () => this.reload(),
      replay: (body) => this.replay(body),
      replayStatus: (sink) => this.works?.shipper.loop(sink).replayStatus() ?? null,
      retain: (kind, by) => this.works?.retention.begin(kind, by),
      record: this.recordNow,
      retentionStatus: () => this.works?.retention.status() ?? null,
      confirmClock: (by) => this.works?.retention.confirmClock(by) ?? null,
      adoptAnchor: (by) => this.works?.retention.adopt(by) ?? null,
      legalHolds: () => this.works?.retention.legal ?? null,
      answer: api.answerSocket,
    });
    this.works.alerts?.start();
    await this.works.shipper.start();
    this.works.bans.start();
    this.works.silence.start();
    this.works.retention.start();
    this.works.fleet?.start();
    this.heartbeat = startHeartbeat({
      notifier: this.notifier,
      hung: () => this.works?.shipper.hung() ?? [],
      statusLine: () => statusLine(this.works?.shipper.status() ?? null, this.refused),
      log: this.options.log,
    });
    this.notifier.notify({ READY: '1' });
    this.heartbeat.beat();
    this.warnAboutSinks();
    this.options.log.info({ version: VERSION, config: this.loaded.path }, 'postern-auditd is ready');
  }

  /** Reloads the configuration; null while the daemon stops. @throws AuditdError if it is rejected; the previous one then stays active */
  reload(): Promise<Reloaded | null> {
    this.reloading = this.reloading.catch(() => null).then(() => this.applyReload());
    return this.reloading;
  }

  /** Ships the remaining rows, for about 3 s at most, and closes everything. */
  async stop(): Promise<void> {
    this.notifier.notify({ STOPPING: '1' });
    this.stopping.abort();
    await this.reloading.catch(() => undefined);
    if (this.works !== null) await this.stopRuntime(this.works, { action: 'daemon.stop' });
    this.heartbeat?.stop();
    await this.control?.close();
    await this.api?.close();
    this.rows?.close();
    this.state?.close();
    this.lock?.release();
    this.notifier.close();
    this.options.log.info('postern-auditd has stopped');
  }

  status(): DaemonStatus {
    return {
      version: VERSION,
      pid: process.pid,
      started: new Date(this.started).toISOString(),
      config: this.loaded.path,
      config_refused: this.refused,
      state: this.loaded.config.state,
      source_id: this.state?.sourceId ?? null,
      ...(this.works?.shipper.status() ?? { sources: {}, sinks: {} }),
      hung: this.works?.shipper.hung() ?? [],
      bans: this.works?.bans.status() ?? null,
      silence: this.works?.silence.status ?? null,
      retention: this.works?.retention.status() ?? null,
      alerts: this.works?.alerts?.status() ?? null,
      fleet: this.works?.fleet?.status() ?? null,
      api: this.api?.status() ?? { state: 'off', listen: null, error: null },
    };
  }

  private replay(body: unknown): void {
    const request = parseReplay(body);
    this.works?.shipper.loop(request.sink).replay(request);
    this.recordNow({ action: 'daemon.replay', details: { ...request } });
  }

  private serve({ db }: State): ApiService {
    this.api = new ApiService({
      db,
      status: () => this.status(),
      record: this.recordNow,
      onUnban: (address, by) => this.works?.bans.noteUnbanRequest(address, by),
      onRecorded: () => this.works?.own.notify(),
      clock: this.clock,
      log: this.options.log,
    });
    return this.api;
  }

  private async build(state: State, loaded: LoadedConfig): Promise<Runtime> {
    const { config } = loaded;
    const { clock, log, env } = { ...this.options, clock: this.clock };
    const server = config.server ?? hostname();
    const { postern, own, fleet } = await this.buildSources(state, config, server);
    const sinks = await this.buildSinks(config, fleet);
    const onRecorded = () => own.notify();
    const alerts = createAlerts({ config, state, source: postern, clock, log, onRecorded });
    const shipper = new Shipper({
      sources: [postern, own, ...(fleet?.failureSource ? [fleet.failureSource] : [])],
      sinks,
      state,
      clock,
      log,
      onReplaced: (source, timeline, reason, lost) => this.replaced(source, timeline, reason, lost),
      isWatched: () => this.api?.isWatched === true,
      onRevised: onRecorded,
      observer: alerts,
      onLive: (events) => {
        silence.observe(events);
        if (events[0]?.source !== 'fleet') this.api?.publish(events);
      },
    });
    const silence = new SilenceWatch({
      verdicts: () =>
        config.fail2ban.enabled
          ? (Object.values(shipper.status().sinks).find(({ type }) => type === 'fail2ban')?.verdicts ?? null)
          : null,
      neverBan: config.fail2ban.never_ban,
      pending: this.works?.silence.pending ?? null,
      isHub: config.fleet.role === 'hub',
      record: this.recordNow,
      clock,
      log,
    });
    const bans = new BanRecorder({
      path: config.fail2ban.bans,
      state,
      server,
      clock,
      log,
      onRecorded,
      jail: createJail(config.fail2ban.jail),
    });
    const retention = new Retention({
      loaded,
      env,
      state,
      clock,
      log,
      shipped: () => shipper.status(),
      record: this.recordNow,
      write: (entry) => createRecorder(state.db, { clock }).record(entry),
      onRecorded,
    });
    return { shipper, own, bans, silence, retention, fleet, alerts };
  }

  private async buildSources(state: State, config: LoadedConfig['config'], server: string) {
    const { clock, rows } = this;
    const { log } = this.options;
    const classify = createClassifier(config.source.aliases);
    const redact = createRedactor({ ...config.redact, hmacKey: state.hmacKey });
    const guard = rows === null ? {} : { guard: rows };
    const trustedProxies = config.source.trusted_proxies;
    const shared = { server, sourceId: state.sourceId, classify, redact, clock, trustedProxies, ...guard };
    const historyOf = (source: SourceName) => state.historyOf(source);
    const fleet = await createFleet({
      config: { ...config, server },
      state,
      sources: { ...shared, historyOf },
      shipped: () => this.works?.shipper.status() ?? null,
      record: this.recordNow,
      clock,
      log,
    });
    const own = createOwnSource({ ...shared, db: state.db, table: 'audit_log' });
    const history = historyOf('postern');
    const privateDirectory = join(config.state, 'copy');
    const postern =
      fleet?.hubSource ??
      createPosternSource({ ...shared, config: config.source, history, privateDirectory, log });
    return { postern, own, fleet };
  }

  private buildSinks(config: LoadedConfig['config'], fleet: Fleet | null): Promise<ConfiguredSink[]> {
    const sinks = Object.entries(config.sinks).map(async ([name, sink]) => {
      const log = this.options.log.child({ sink: name });
      const deps = { name, clock: this.clock, minFree: config.min_free, log, record: this.recordNow };
      return {
        name,
        config: sink,
        // Other servers' failed logins are for fail2ban alone: their own servers ship them to the other sinks.
        ...(sink.type === 'fail2ban' ? {} : { sources: ['postern', 'auditd'] as const }),
        ...(fleet === null || 'directory' in sink ? {} : { isActive: fleet.isActive }),
        sink: await createSink(sink, config, deps),
      };
    });
    return Promise.all(sinks);
  }

  private async applyReload(): Promise<Reloaded | null> {
    const { log, configPath, env } = this.options;
    const { state, works: old } = this;
    if (state === null || old === null || this.stopping.signal.aborted) return null;
    let works: Runtime;
    let loaded: LoadedConfig;
    let changes: ReturnType<typeof diffConfig>;
    let changed: ReturnType<typeof changedValues>;
    try {
      loaded = loadConfig(configPath, env);
      changes = diffConfig(this.loaded.config, loaded.config);
      changed = changedValues(this.loaded.config, loaded.config);
      // Before the parts are built: a hub's table, for example, is in the state directory.
      loaded.config.state = this.loaded.config.state;
      loaded.config.control = this.loaded.config.control;
      if (loaded.config.fleet.role === 'hub')
        loaded.config.source.database = hubDatabase(loaded.config.state);
      works = await this.build(state, loaded);
    } catch (error) {
      log.error(
        { err: error },
        `new configuration rejected, the previous one stays active: ${messageOf(error)}`,
      );
      this.refused = refusalOf(error, this.clock());
      this.heartbeat?.beat();
      throw error;
    }
    if (this.stopping.signal.aborted) return null; // the runtime in effect ships the rest
    this.refused = null;
    const result = reloadedOf(changes);
    for (const key of result.restart) {
      log.warn(`${key} has changed; the change takes effect at the next restart`);
    }
    if (result.jail) {
      log.warn(`the change also affects fail2ban's jail. ${sentence(renewJail())}`);
    }
    log.level = loaded.config.log.level;
    await this.stopRuntime(old);
    this.loaded = loaded;
    this.works = works;
    this.record(works, { action: 'daemon.reload', details: { config: loaded.path, changes: changed } });
    if (this.stopping.signal.aborted) return null;
    works.alerts?.start();
    await this.attempt('starting shipping', () => Promise.race([works.shipper.start(), this.stopped]));
    if (this.stopping.signal.aborted) return null;
    await this.attempt('starting the journal of bans', () => works.bans.start());
    works.silence.start();
    await this.attempt('starting retention', () => works.retention.start());
    await this.attempt('starting the fleet', () => works.fleet?.start());
    await this.attempt('starting the API', () => this.api?.apply(loaded.config));
    log.info({ config: loaded.path }, 'configuration read again');
    this.warnAboutSinks();
    this.heartbeat?.beat();
    return result;
  }

  /** A step that fails, for example because of a full disk, does not keep the following ones from running. */
  private async stopRuntime(works: Runtime, last?: NewEntry): Promise<void> {
    const { bans, silence, retention, shipper, fleet, alerts } = works;
    silence.stop();
    alerts?.stop();
    await this.attempt('stopping the journal of bans', () => bans.stop());
    await this.attempt('stopping retention', () => retention.stop());
    if (last !== undefined) this.record(works, last);
    await this.attempt('stopping the shipping', () => shipper.stop());
    await this.attempt('stopping the fleet', () => fleet?.stop());
  }

  private async attempt(what: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.options.log.error({ err: error }, `${what} failed: ${messageOf(error)}`);
    }
  }

  private warnAboutSinks(): void {
    for (const warning of sinkWarnings(this.loaded.config)) this.options.log.warn(warning);
  }

  private replaced(source: SourceName, timeline: number, reason: string, lost: readonly LostRows[]): void {
    const { works } = this;
    if (works === null) return;
    works.retention.replaced();
    this.record(works, { action: 'daemon.timeline_change', details: { source, timeline, reason } });
    for (const rows of lost) this.record(works, { action: 'daemon.rows_lost', details: { source, ...rows } });
  }

  private readonly recordNow = (entry: NewEntry): void => {
    if (this.works !== null) this.record(this.works, entry);
  };

  /** Records an event of the daemon itself. A failure (a full disk) is logged, and stops nothing. */
  private record(works: Runtime, entry: NewEntry): void {
    const { state } = this;
    if (state === null) return;
    try {
      createRecorder(state.db, { clock: this.clock }).record(entry);
      works.own.notify();
    } catch (error) {
      this.options.log.error({ err: error }, `can't record event ${entry.action}: ${messageOf(error)}`);
    }
  }
}
