import type { KeyObject } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import { loadConfig } from '../../src/config/load.js';
import type { NewEntry } from '../../src/recorder/recorder.js';
import type { RunResult } from '../../src/retention/run.js';
import { Retention } from '../../src/retention/scheduler.js';
import type { ShipperStatus } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import { archivedIds, RetentionRig } from './retention-fixture.js';

const WORKER = pathToFileURL(resolve(import.meta.dirname, '../../dist/retention/worker.js'));

/** A row with the columns that a legal hold matches. */
export interface Held {
  readonly created: unknown;
  readonly user?: readonly [id: unknown, name: unknown, email: unknown];
  readonly type?: unknown;
  readonly resource?: unknown;
}

/** Retention as in the daemon, with a real thread, a real purge process and a state.db. */
export class LegalRig extends RetentionRig {
  readonly entries: NewEntry[] = [];
  state = this.openState();
  retention: Retention | null = null;
  /** Called by the check of the clock, just before archives are removed. */
  whileDeciding: () => void = () => undefined;
  /** Offset to the real clocks, ms. */
  ahead = 0;

  insertHeld(rows: readonly Held[]): void {
    const statement = this.db.prepare(
      `INSERT INTO audit_log (created_at, action, resource_type, resource_id, user_id, user_name, user_email) VALUES (?, 'update', ?, ?, ?, ?, ?)`,
    );
    this.db.transaction(() => {
      for (const { created, user = [null, null, null], type = 'proxy_host', resource = null } of rows)
        statement.run(created, type, resource, ...user);
    })();
  }

  /** @param more YAML of further keys of `retention` */
  start({ more = '', keep = 'forever', sign = 'null' } = {}): Retention {
    const path = join(this.directory, 'config.yml');
    writeFileSync(
      path,
      `source: { database: ${this.database} }
state: ${this.directory}/state
retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${this.archive}, keep: ${keep}, sign: ${sign} } ${more} }
`,
    );
    this.retention = new Retention({
      loaded: loadConfig(path, {}),
      env: {},
      state: this.state,
      clock: () => Date.now() + this.ahead,
      up: () => performance.now() + this.ahead,
      ran: () => performance.now() + this.ahead,
      synchronised: async () => {
        this.whileDeciding();
        return true;
      },
      log: pino({ level: 'silent' }),
      shipped: () =>
        ({
          sources: {
            postern: { timeline: 1, mark: 1_000_000, maxId: 1_000_000 },
            auditd: { timeline: 1, mark: 1_000_000, maxId: 1_000_000 },
          },
          sinks: {},
        }) as unknown as ShipperStatus,
      record: (entry) => this.entries.push(entry),
      write: (entry) => this.entries.push(entry),
      worker: WORKER,
    });
    this.retention.start();
    return this.retention;
  }

  /** Error of the run; null if it succeeded. */
  async now(kind: 'dry' | 'now' = 'now'): Promise<string | null> {
    const { retention } = this;
    if (retention === null) throw new Error('not started');
    retention.begin(kind);
    for (;;) {
      const { run } = retention.status();
      if (run !== null && run.state !== 'running') return run.error;
      await sleep(20);
    }
  }

  /** A run in this process, with the holds of state.db. @param more YAML of further keys of `retention` */
  quick(more = '', options: { readonly sign?: KeyObject } = {}): Promise<RunResult> {
    this.legal = this.retention?.legal.recorded() ?? [];
    this.clock = Math.max(this.clock, Date.now());
    return this.run(`keep: { default: 1y }${more}`, options);
  }

  hold(filter: Readonly<Record<string, string>>): number {
    const all = Object.keys(filter).length === 0;
    const body = { filter, ...(all ? { all } : {}), reason: 'case 4711' };
    return this.retention?.legal.hold(body, 'ann').id ?? 0;
  }

  release(id: number): void {
    this.retention?.legal.release(id, { reason: 'closed' }, 'ann');
  }

  actions(prefix: string): NewEntry[] {
    return this.entries.filter(({ action }) => action.startsWith(prefix));
  }

  /** Reopens state.db after it was closed for another process. */
  reopen(): void {
    this.state = new State(join(this.directory, 'state'));
  }

  /** Deletes state.db. */
  async loseState(): Promise<void> {
    await this.retention?.stop();
    this.state.close();
    mkdirSync(join(this.directory, 'other'), { recursive: true });
    this.state = new State(join(this.directory, 'other'));
  }

  archivedIds(source = 'postern'): number[] {
    return archivedIds(this.archive, source);
  }

  async end(): Promise<void> {
    await this.retention?.stop();
    this.state.close();
    this.close();
  }

  private openState(): State {
    mkdirSync(join(this.directory, 'state'));
    return new State(join(this.directory, 'state'));
  }
}
