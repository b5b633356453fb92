import { uptime } from 'node:os';
import type { Logger } from 'pino';
import type { PublicSource } from '../audit/event.js';
import type { LoadedConfig } from '../config/load.js';
import { toUserForm } from '../config/serialize.js';
import { AuditdError, messageOf } from '../errors.js';
import { daemonCommand } from '../next-steps.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { ShipperStatus } from '../shipping/shipper.js';
import type { State } from '../shipping/state.js';
import type { Removal } from './archive/anchor.js';
import { signingKey } from './archive/signing-key.js';
import { ArchiveGuard, type ExpiryStatus } from './archive-guard.js';
import { deleteOwn } from './auditd-table.js';
import { clockWait, detectClockStep } from './clock-step.js';
import { bootId, isClockSynchronised } from './clock-synchronised.js';
import { createSchedule, isDue, type Schedule } from './cron-schedule.js';
import { type Actor, byCommand } from './deletion-intent.js';
import { PurgeLedger } from './deletion-ledger.js';
import { explainedProblem } from './error-parts.js';
import { fileAt } from './file-identity.js';
import { type LegalHoldStore, type LegalStatus, legalHoldStoreOf } from './legal-hold-store.js';
import { NOTHING, sum } from './purge/protocol.js';
import type { RunProgress } from './run.js';
import { entriesOf, failedRunOf, keptRowsText, lastRunOf, type RunTally } from './run-report.js';
import { type LastRun, type Memory, Notes } from './saved-state.js';
import { adoptAnchor } from './settle-chain-begin.js';
import { type Hold, holdsOf, limitOf, type SinkStanding, updateStalls } from './sink-holds.js';
import { RunThread } from './thread.js';
import type { DryTarget, RunData, RunOutcome } from './thread-protocol.js';

/** How often to check the clock, the sinks and whether a run is due. */
const TICK_MS = 20_000;
const FIRST_TICK_MS = 500;
/** How often the state of clock and sinks is saved, in addition to each change. */
const SAVE_MS = 600_000;
const SOURCES: readonly PublicSource[] = ['postern', 'auditd'];

export interface RetentionOptions {
  readonly loaded: LoadedConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
  readonly shipped: () => ShipperStatus;
  readonly record: (entry: NewEntry) => void;
  /** Writes an event in the open transaction; throws if that fails. Call `onRecorded` after the commit. */
  readonly write: (entry: NewEntry) => void;
  readonly onRecorded?: () => void;
  /** Milliseconds since the machine was started, suspend included. */
  readonly up?: () => number;
  /** The same without suspend. */
  readonly ran?: () => number;
  readonly synchronised?: () => Promise<boolean | null>;
  readonly worker?: URL;
}

/** The last run, by request or by schedule. */
export interface RunStatus {
  readonly kind: 'dry' | 'now' | 'scheduled';
  readonly state: 'running' | 'done' | 'failed';
  readonly progress: RunProgress | null;
  readonly dry: readonly DryTarget[] | null;
  readonly error: string | null;
}

export interface RetentionStatus {
  readonly enabled: boolean;
  /** When the next run begins, ISO 8601; null if none is scheduled. */
  readonly next: string | null;
  /** Why a due run does not begin; null if nothing prevents it. */
  readonly waiting: string | null;
  readonly run: RunStatus | null;
  readonly last: LastRun | null;
  /** Archives past their age that are not removed yet; null if there are none. */
  readonly expiry: ExpiryStatus | null;
  readonly legal_holds: LegalStatus;
}

/** Archives and removes old rows on schedule. Decisions are made here, in the main thread; another thread does the work. */
export class Retention {
  private readonly notes: Notes;
  private readonly guard: ArchiveGuard;
  readonly legal: LegalHoldStore;
  private readonly schedule: Schedule;
  private memory: Memory;
  private timer: NodeJS.Timeout | null = null;
  private thread: RunThread | null = null;
  private run: RunStatus | null = null;
  /** Settles when the outcome of the run is recorded. */
  private reported: Promise<void> = Promise.resolve();
  private lastUp: number;
  private lastSave = Number.NEGATIVE_INFINITY;
  private ended = false;

  constructor(private readonly options: RetentionOptions) {
    this.notes = new Notes(options.state);
    this.schedule = createSchedule(this.config.schedule);
    this.lastUp = this.readUptime();
    this.memory = this.notes.memory ?? this.newMemory();
    this.guard = this.createGuard();
    this.legal = legalHoldStoreOf(options, this.config.archive);
  }

  start(): void {
    if (!this.config.enabled) {
      this.ledger().recordInterrupted();
      return;
    }
    this.memory = this.notes.memory ?? this.newMemory(); // the previous instance may have written it in the meantime
    this.guard.start();
    this.save();
    this.timer = setTimeout(() => this.tick(), FIRST_TICK_MS);
  }

  /** Stops an active run; the next run resumes it. */
  async stop(): Promise<void> {
    this.ended = true;
    if (this.timer !== null) clearTimeout(this.timer);
    await this.thread?.stop('The run was stopped; the next one resumes it');
    await this.reported;
    if (this.config.enabled) this.save();
  }

  /** Stops the run when a source's path leads to another history: its decisions were made for the previous one. */
  replaced(): void {
    void this.thread?.stop(
      'The run was stopped, because the database has another history since it began; the next one starts over',
    );
  }

  /** @throws AuditdError `CONFLICT` if retention is off, a run is active, or has to wait */
  begin(kind: 'dry' | 'now', name: string | null = null): void {
    if (this.thread !== null) throw runIsActive();
    if (kind === 'now' && !this.config.enabled) throw retentionIsOff('nothing is removed');
    if (this.config.enabled) this.observe();
    const waits = kind === 'now' ? clockWait(this.memory.clock) : null;
    if (waits !== null)
      throw new AuditdError('CONFLICT', `Nothing is removed now: ${waits.what}`, { next: waits.next });
    this.launch(kind, byCommand(name));
  }

  status(): RetentionStatus {
    const { enabled } = this.config;
    const next = enabled ? this.schedule.next(this.options.clock()) : null;
    return {
      enabled,
      next: next === null ? null : new Date(next).toISOString(),
      waiting: enabled ? explainedProblem(clockWait(this.memory.clock)) : null,
      run: this.run,
      last: this.memory.last,
      expiry: enabled ? this.guard.status() : null,
      legal_holds: this.legal.status(),
    };
  }

  /** Records that the operator confirmed the clock. @returns the time it shows @throws AuditdError `CONFLICT` if retention is off */
  confirmClock(name: string | null = null): string {
    if (this.config.enabled) return this.guard.confirmClock(byCommand(name));
    throw retentionIsOff('nothing is removed by the clock');
  }

  /** Adopts the anchor in the directory. @returns its content @throws AuditdError `USAGE`, `CONFLICT`, `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  adopt(name: string | null): Removal {
    if (this.thread !== null) throw runIsActive();
    const { directory, sign } = this.config.archive;
    const removal = adoptAnchor({
      directory,
      removals: this.notes.removals,
      purged: this.notes.purged,
      sign: sign === null ? null : signingKey(sign),
      clock: this.options.clock,
    });
    this.guard.adopt(removal, byCommand(name));
    return removal;
  }

  private get config() {
    return this.options.loaded.config.retention;
  }

  private createGuard(): ArchiveGuard {
    const { state, clock, record, write, log, env, ran } = this.options;
    const { onRecorded = () => undefined, synchronised = isClockSynchronised } = this.options;
    const { directory, keep } = this.config.archive;
    const boot = bootId(env);
    return new ArchiveGuard({
      state,
      notes: this.notes,
      directory,
      keep,
      readClocks: () => ({
        wall: clock(),
        ran: ran?.() ?? Number(process.hrtime.bigint() / 1_000_000n),
        boot,
      }),
      synchronised,
      record,
      write,
      onRecorded,
      log,
    });
  }

  private readUptime(): number {
    return this.options.up?.() ?? uptime() * 1_000;
  }

  private newMemory(): Memory {
    const now = this.options.clock();
    return { enabledSince: now, lastSuccess: null, lastFailure: null, last: null, clock: null, stalls: {} };
  }

  private tick(): void {
    try {
      this.observe();
      const due = isDue(this.schedule, this.memory, this.options.clock());
      if (due && this.thread === null && clockWait(this.memory.clock) === null)
        this.launch('scheduled', { kind: 'scheduled' });
    } catch (error) {
      this.options.log.error({ err: error }, `retention: ${messageOf(error)}`);
    }
    if (!this.ended) this.timer = setTimeout(() => this.tick(), TICK_MS);
  }

  /** Checks the clock and the sinks, and saves the result. */
  private observe(): void {
    const { clock, log, record } = this.options;
    const now = clock();
    const up = this.readUptime();
    const before = this.memory.clock;
    const seen = detectClockStep(before, { wall: now, up });
    const stalls = updateStalls(this.memory.stalls, this.standings('postern'), now, up - this.lastUp);
    this.lastUp = up;
    this.memory = { ...this.memory, clock: seen, stalls };
    this.guard.updateUptime();
    const stepped = seen.wait > (before?.wait ?? 0);
    if (stepped) {
      const waits = explainedProblem(clockWait(this.memory.clock)) ?? '';
      log.warn({ step_ms: seen.step }, `retention waits: ${waits}`);
      record({ action: 'daemon.purge_postponed', details: { reason: waits } });
    }
    if (stepped || up - this.lastSave >= SAVE_MS) this.save();
  }

  private standings(source: PublicSource): Record<string, SinkStanding> {
    const { sources, sinks } = this.options.shipped();
    const { maxId = 0, mark = 0, timeline = 1 } = sources[source] ?? {};
    return Object.fromEntries(
      Object.entries(sinks).flatMap(([name, { required, cursors, held_from: heldFrom, looks }]) => {
        if (looks !== undefined) return []; // without a backlog
        const cursor = cursors[source];
        const upTo = cursor?.timeline === timeline ? cursor.id : 0;
        const behind = Math.max(0, Math.max(maxId, mark) - upTo);
        return [[name, { required, timeline, upTo, heldFrom: heldFrom[source] ?? 0, behind }] as const];
      }),
    );
  }

  private ledger(): PurgeLedger {
    const { state, write } = this.options;
    const { directory } = this.config.archive;
    return new PurgeLedger({ state, notes: this.notes, directory, write });
  }

  private launch(kind: RunStatus['kind'], by: Actor): void {
    const { state, log } = this.options;
    const begin = this.options.clock();
    const ledger = this.ledger();
    const data = this.runData(kind === 'dry', ledger.unsettled);
    this.run = { kind, state: 'running', progress: null, dry: null, error: null };
    const tally: RunTally = { archives: 0, purged: {} };
    const { retention: policy } = toUserForm(this.options.loaded.config);
    const thread = new RunThread({
      data,
      onProgress: (progress) => {
        if (this.run?.state === 'running') this.run = { ...this.run, progress };
      },
      onArchived: () => {
        tally.archives++;
      },
      onDeleted: (source, purged) => {
        tally.purged[source] = sum(tally.purged[source] ?? NOTHING, purged);
        ledger.recordAnswer(purged);
      },
      onPurging: (step) => {
        const told = ledger.begin(step, by, policy);
        if (told !== null) log.error(`retention: ${told}`);
        this.options.onRecorded?.();
      },
      onSettled: (sha256, note) => {
        ledger.settle(sha256, note, by);
        this.options.onRecorded?.();
      },
      onPurged: (note) => {
        this.notes.purged = note;
      },
      onAnchor: (note) => this.guard.recordAnchor(note, by),
      onBaseline: (source, timeline, gone) => {
        state.durably(() => state.accounted.begin(source, timeline, gone));
      },
      onExpired: (archives, holds) => this.guard.expire(archives, by, () => this.legal.isNewest(holds)),
      deleteOwn: (rows) => deleteOwn(state.db, rows, this.legal.current()),
      ...(this.options.worker === undefined ? {} : { worker: this.options.worker }),
    });
    this.thread = thread;
    if (kind !== 'dry') log.info({ kind }, 'retention run started');
    this.reported = thread.outcome
      .then(
        (outcome) => this.finishRun(kind, begin, outcome),
        (error: unknown) => this.failRun(kind, begin, tally, error),
      )
      .catch((error: unknown) => log.error({ err: error }, `retention: ${messageOf(error)}`))
      .finally(() => {
        this.thread = null;
      });
  }

  private runData(dry: boolean, unsettled: readonly string[]): RunData {
    const { loaded, env, state } = this.options;
    const { sources } = this.options.shipped();
    return {
      dry,
      config: loaded.config,
      configPath: loaded.path,
      env: { ...env },
      stateDatabase: state.path,
      sourceId: state.sourceId,
      columnsRead: state.historyOf('postern').columnsRead?.() ?? {},
      purged: this.notes.purged,
      unsettled,
      removals: this.notes.removals,
      legal: dry ? this.legal.recorded() : this.legal.adoptAndList(),
      now: this.options.clock(),
      targets: SOURCES.map((source) => {
        const { timeline = 1, mark = 0 } = sources[source] ?? {};
        const holds = this.holds(source);
        const file = source === 'postern' ? fileAt(loaded.config.source.database) : null;
        return { source, timeline, holds, limit: limitOf(holds, mark), file };
      }),
    };
  }

  private holds(source: PublicSource): Hold[] {
    // Stalled sinks are tracked for Postern's table: a dead sink holds back rows of our table for as long.
    return holdsOf(this.standings(source), this.memory.stalls, this.config.max_hold);
  }

  private finishRun(kind: RunStatus['kind'], begin: number, outcome: RunOutcome): void {
    const { log, record } = this.options;
    if (outcome.kind === 'dry') {
      this.run = { kind, state: 'done', progress: null, dry: outcome.targets, error: null };
      return;
    }
    this.run = { kind, state: 'done', progress: null, dry: null, error: null };
    const last = lastRunOf(begin, this.options.clock(), outcome);
    for (const entry of entriesOf(outcome)) record(entry);
    const before = this.memory.last;
    this.memory = { ...this.memory, lastSuccess: begin, lastFailure: null, last };
    this.save();
    log.info({ deleted: last.deleted, archives: last.archives }, 'retention run finished');
    const refused = keptRowsText(last);
    if ((last.large ?? 0) > (before?.large ?? 0))
      record({ action: 'daemon.purge_postponed', details: { reason: refused, rows: last.large } });
    if (refused !== null) log.warn({ refused: last.refused }, `retention: ${refused}`);
  }

  private failRun(kind: RunStatus['kind'], begin: number, tally: RunTally, error: unknown): void {
    const { log, record, clock } = this.options;
    const message = messageOf(error);
    this.run = { kind, state: 'failed', progress: null, dry: null, error: message };
    if (kind === 'dry') return;
    const last = failedRunOf(begin, clock(), tally, error);
    if (this.ended) return;
    log.error({ err: error, deleted: last.deleted }, `retention failed: ${message}`);
    if (this.memory.lastFailure === null)
      record({ action: 'daemon.purge_postponed', details: { reason: message } });
    this.memory = { ...this.memory, lastFailure: clock(), last };
    this.save();
  }

  private save(): void {
    this.lastSave = this.lastUp;
    this.notes.memory = this.memory;
    this.guard.save();
  }
}

function retentionIsOff(so: string): AuditdError {
  return new AuditdError('CONFLICT', `Retention is off: ${so}`, {
    next: `Set retention.enabled to true, and let the daemon read it: ${daemonCommand('reload')}`,
  });
}

function runIsActive(): AuditdError {
  return new AuditdError('CONFLICT', 'A run of retention is active', {
    next: 'Wait for its end: postern-auditd status',
  });
}
