import { copyFileSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createClassifier } from '../../src/audit/catalog.js';
import { config as schema } from '../../src/config/schema.js';
import type { LostRows } from '../../src/shipping/lost.js';
import { Shipper } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import type { Batch, Delivered, Resume, Sink } from '../../src/sinks/sink.js';
import { createPosternSource } from '../../src/source/postern.js';
import type { AuditSource } from '../../src/source/source.js';
import Database from '../../src/sqlite.js';

/** A sink that keeps what it got across restarts, and fails when told to. */
export class MemorySink implements Sink {
  readonly deliveryClass = 'exactly once';
  readonly got: Array<{ sequence: number; details: string | null; timeline: number }> = [];
  down = false;
  /** What it shows of what it has, when it is opened. */
  positions: Resume['positions'] = [];

  async open(): Promise<Resume | null> {
    if (this.down) throw new Error('down');
    return this.positions.length === 0 ? null : { saved: '{}', positions: this.positions };
  }

  async deliver(batch: Batch): Promise<Delivered> {
    if (this.down) throw new Error('down');
    for (const { sequence, details, timeline } of batch.events)
      this.got.push({ sequence, details, timeline });
    return { upTo: batch.upTo };
  }

  async check() {
    return [];
  }

  figures() {
    return {};
  }

  async close(): Promise<void> {}
}

export interface Table {
  readonly autoincrement: boolean;
}

/** A Postern database that can be backed up and restored, a state, a shipper that looks only when told to. */
export class ShippingRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-shipping-'));
  readonly database = join(this.directory, 'posternproxy.db');
  readonly sinks = { good: new MemorySink(), lagging: new MemorySink() };
  readonly lost: LostRows[] = [];
  readonly replaced: string[] = [];
  private writer: Database;
  private state: State | null = null;
  private shipper: Shipper | null = null;
  private wake: () => unknown = () => undefined;
  private content = 0;

  constructor(private readonly table: Table = { autoincrement: true }) {
    this.writer = this.openWriter();
    this.create();
  }

  create(): void {
    this.writer.exec(`CREATE TABLE audit_log (id INTEGER PRIMARY KEY ${this.table.autoincrement ? 'AUTOINCREMENT' : ''},
      created_at TEXT, action TEXT, resource_type TEXT, details TEXT, ip_address TEXT)`);
  }

  sql(text: string): void {
    this.writer.exec(text);
  }

  append(count: number): void {
    const insert = this.writer.prepare(
      `INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (datetime('now'), 'update', 'setting', ?)`,
    );
    this.writer.transaction(() => {
      for (let n = 0; n < count; n++) insert.run(JSON.stringify({ content: this.content++ }));
    })();
  }

  edit(id: number): void {
    this.writer
      .prepare('UPDATE audit_log SET details = ? WHERE id = ?')
      .run(JSON.stringify({ content: this.content++ }), id);
  }

  rows(): Array<{ id: number; details: string }> {
    return this.writer.prepare('SELECT id, details FROM audit_log ORDER BY id').all() as Array<{
      id: number;
      details: string;
    }>;
  }

  backup(name: string): void {
    const path = join(this.directory, `${name}.backup`);
    rmSync(path, { force: true });
    this.writer.exec(`VACUUM INTO '${path}'`);
  }

  /** Puts a backup in the place of the database, in one of the ways in which people do that. */
  restore(name: string, way: 'rename' | 'copy' | 'remove and copy' | 'into'): boolean {
    const path = join(this.directory, `${name}.backup`);
    if (!existsSync(path)) return false;
    if (way === 'into') {
      this.writer.exec(`ATTACH '${path}' AS old; BEGIN; DELETE FROM main.audit_log;
        INSERT INTO main.audit_log SELECT * FROM old.audit_log`);
      if (this.table.autoincrement) {
        this.writer.exec(
          `DELETE FROM main.sqlite_sequence; INSERT INTO main.sqlite_sequence SELECT * FROM old.sqlite_sequence`,
        );
      }
      this.writer.exec('COMMIT; DETACH old');
      return true;
    }
    this.writer.close();
    if (way === 'remove and copy') rmSync(this.database);
    if (way === 'rename') {
      copyFileSync(path, `${path}.new`);
      renameSync(`${path}.new`, this.database);
    } else {
      copyFileSync(path, this.database);
    }
    this.writer = this.openWriter();
    return true;
  }

  async start(): Promise<void> {
    const state = new State(join(this.directory, 'state'));
    this.state = state;
    const log = pino({ level: 'silent' });
    const source = createPosternSource({
      config: schema.parse({ source: { database: this.database } }).source,
      server: 'here',
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: (details) => details,
      history: { fingerprintOf: (timeline, id) => state.fingerprints.of('postern', timeline, id) },
      privateDirectory: join(this.directory, 'copies'),
      clock: Date.now,
      log,
    });
    const told: AuditSource = {
      name: source.name,
      look: (request) => source.look(request),
      row: (id, timeline) => source.row(id, timeline),
      watch: (onWake) => {
        this.wake = onWake;
        return { close: () => undefined };
      },
    };
    this.shipper = new Shipper({
      sources: [told],
      sinks: Object.entries(this.sinks).map(([name, sink]) => ({
        name,
        sink,
        config: { ...schema.parse({}).sinks.audit, type: 'file' } as never,
      })),
      state,
      clock: Date.now,
      log,
      onReplaced: (_, __, reason, lost) => {
        this.replaced.push(reason);
        this.lost.push(...lost);
      },
    });
    await this.shipper.start();
  }

  /** Until each sink that is up has all there is. */
  async settle(): Promise<void> {
    for (let quiet = 0, tries = 0; quiet < 3; tries++) {
      if (tries > 2_000) throw new Error(`does not settle: ${JSON.stringify(this.shipper?.status())}`);
      const found = this.wake();
      await sleep(1);
      const status = this.shipper?.status();
      const busy = Object.entries(status?.sinks ?? {}).some(
        ([name, sink]) =>
          !this.sinks[name as keyof typeof this.sinks].down &&
          (sink.lag_events > 0 ||
            sink.state !== 'waiting for events' ||
            sink.cursors.postern?.timeline !== status?.sources.postern?.timeline),
      );
      quiet = found === true || busy ? 0 : quiet + 1;
    }
  }

  async stop(): Promise<void> {
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
    return db;
  }
}
