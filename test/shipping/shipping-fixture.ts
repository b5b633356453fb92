import { copyFileSync, cpSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createClassifier } from '../../src/audit/catalog.js';
import type { SourceName } from '../../src/audit/event.js';
import { config as schema } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import type { LostRows } from '../../src/shipping/lost-rows.js';
import { type ConfiguredSink, Shipper } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import { createFail2banSink } from '../../src/sinks/files/fail2ban-sink.js';
import { type Encoder, messageAt } from '../../src/sinks/messages.js';
import type {
  Corrections,
  Delivered,
  MessageBatch,
  MessageSink,
  ResumePosition,
} from '../../src/sinks/sink.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import { createPosternSource } from '../../src/source/postern-source.js';
import type { AuditSource } from '../../src/source/source.js';
import { PairReader } from './pair-reader.js';

/** What a sink got of a row. */
interface Got {
  readonly id: string;
  readonly source: string;
  /** Of a version of an edited row, the row that it is of. */
  readonly sequence: number;
  readonly details: string | null;
  readonly timeline: number;
  readonly action: string;
  readonly isRevision: boolean;
}

const asJson: Encoder = {
  key: 'json',
  format: ({ id, source, sequence, details, timeline, action, revisionOf }) => {
    const isRevision = revisionOf !== null;
    const got: Got = { id, source, sequence: revisionOf ?? sequence, details, timeline, action, isRevision };
    return JSON.stringify(got);
  },
  last: () => '{}',
  end: '',
};

/** A sink that keeps what it got across restarts, and fails when told to. */
export class MemorySink implements MessageSink {
  readonly deliveryClass = 'exactly once';
  readonly encoder = asJson;
  readonly got: Array<
    Got & {
      /** The row that it came as. */
      readonly at: number;
    }
  > = [];
  isSlow = false;
  /** It then shows what it has, as a sink of files does. */
  isAfterCrash = false;
  down = false;
  /** What it shows of what it has, when it is opened. */
  positions: Corrections['positions'] = [];

  async open(): Promise<Corrections | null> {
    if (this.down) throw new Error('down');
    if (this.isAfterCrash) return { saved: '{}', positions: this.shown() };
    return this.positions.length === 0 ? null : { saved: '{}', positions: this.positions };
  }

  readonly deliver = async ({ messages, upTo }: MessageBatch): Promise<Delivered> => {
    if (this.down) throw new Error('down');
    for (let at = 0; at < messages.length; at++) {
      const got = JSON.parse(messageAt(messages, at).toString()) as Got;
      if (got.id !== messages.idAt(at)) throw new Error(`${got.id} came as ${messages.idAt(at)}`);
      this.got.push({ ...got, at: messages.sequences[at] ?? 0 });
    }
    if (this.isSlow) await sleep(1); // what is written is not known to be written yet
    return { upTo };
  };

  private shown(): Corrections['positions'] {
    const places = new Map<string, ResumePosition>();
    for (const { source, timeline, at, id } of this.got) {
      const key = `${source}/${timeline}`;
      const found = [...(places.get(key)?.found ?? []), [at, id] as const];
      places.set(key, { source: source as SourceName, timeline, upTo: at, found });
    }
    return [...places.values()];
  }

  async check() {
    return [];
  }

  figures() {
    return {};
  }

  async close(): Promise<void> {}
}

export interface Row {
  readonly id: number;
  /** `created_at` */
  readonly time: string;
  readonly action: string;
  readonly details: string;
  readonly address: string | null;
}

const START = Date.UTC(2026, 10, 1);
/** Of fail2ban's pair: a few lines. */
const ROLL = '4K';
/** How often the shipper looks for edits: as often as it can. */
const EDITS_MS = 2;

export interface Table {
  readonly autoincrement: boolean;
  /** The name of the user is another table's, and the two are joined. */
  readonly view?: boolean;
  /** fail2ban's sink follows it too, with its pair of files. */
  readonly fail2ban?: boolean;
}

/** A Postern database that can be backed up and restored, a state, a shipper that looks only when told to. */
export class ShippingRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-shipping-'));
  readonly database = join(this.directory, 'posternproxy.db');
  readonly sinks = { good: new MemorySink(), lagging: new MemorySink() };
  readonly lost: LostRows[] = [];
  readonly replaced: string[] = [];
  readonly pair = new PairReader(join(this.directory, 'auth'));
  /** `source.columns`, from the next start on. */
  columns: Readonly<Record<string, string | null>> = {};
  private writer: Database;
  private readonly name: string;
  private state: State | null = null;
  private shipper: Shipper | null = null;
  private source: AuditSource | null = null;
  private wake: () => unknown = () => undefined;
  private content = 0;
  private stateDirectory = join(this.directory, 'state');
  private crashes = 0;
  private offset = 0;
  private failedAt = 0;
  readonly clock = () => Date.now() + this.offset;

  constructor(private readonly table: Table = { autoincrement: true }) {
    this.name = table.view === true ? 'joined' : 'audit_log';
    this.writer = this.openWriter();
    this.create();
  }

  create(): void {
    this.writer.exec(`CREATE TABLE audit_log (id INTEGER PRIMARY KEY ${this.table.autoincrement ? 'AUTOINCREMENT' : ''},
      created_at TEXT, action TEXT, resource_type TEXT, details TEXT, ip_address TEXT)`);
    if (this.table.view === true)
      this.writer.exec(`CREATE TABLE user (name TEXT); INSERT INTO user VALUES ('Ann');
        CREATE VIEW joined AS SELECT audit_log.*, user.name AS user_name FROM audit_log, user`);
  }

  sql(text: string): void {
    this.writer.exec(text);
  }

  append(count: number): void {
    const insert = this.writer.prepare(
      `INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, 'update', 'setting', ?)`,
    );
    this.writer.transaction(() => {
      // No two of one time: by that, rows of two histories can be told apart.
      for (let n = 0; n < count; n++)
        insert.run(new Date(START + this.content).toISOString(), JSON.stringify({ content: this.content++ }));
    })();
  }

  /** A failed login, of this moment or of an earlier one. No two of one time. @returns its id */
  fail(address: string | null, agoMs = 0): number {
    this.failedAt = Math.max(this.failedAt + 1, this.clock());
    const insert = this.writer.prepare(
      `INSERT INTO audit_log (created_at, action, details, ip_address) VALUES (?, 'auth.login_failure', ?, ?)`,
    );
    const details = JSON.stringify({ content: this.content++ });
    const time = new Date(this.failedAt - agoMs).toISOString();
    return Number(insert.run(time, details, address).lastInsertRowid);
  }

  /** Time passes. */
  pass(ms: number): void {
    this.offset += ms;
  }

  /** @returns the new content */
  change(
    id: number,
    action = 'update',
    details = JSON.stringify({ content: this.content++ }),
    address?: string,
  ): string {
    this.pass(1_001);
    this.writer
      .prepare(
        'UPDATE audit_log SET details = ?, action = ?, ip_address = coalesce(?, ip_address) WHERE id = ?',
      )
      .run(details, action, address ?? null, id);
    return details;
  }

  /** Not within a second of another edit: two of one row in one second may count as one. */
  edit(id: number): void {
    this.pass(1_001);
    this.writer
      .prepare('UPDATE audit_log SET details = ? WHERE id = ?')
      .run(JSON.stringify({ content: this.content++ }), id);
  }

  rows(): Row[] {
    return this.writer
      .prepare(
        'SELECT id, created_at AS time, action, details, ip_address AS address FROM audit_log ORDER BY id',
      )
      .all() as Row[];
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
    const state = new State(this.stateDirectory);
    this.state = state;
    const log = pino({ level: 'silent' });
    const source = createPosternSource({
      config: schema.parse({ source: { database: this.database, table: this.name, columns: this.columns } })
        .source,
      server: 'here',
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: (details) => details,
      history: state.historyOf('postern'),
      privateDirectory: join(this.directory, 'copies'),
      clock: this.clock,
      log,
    });
    this.source = source;
    const told: AuditSource = {
      name: source.name,
      read: (request) => source.read(request),
      row: (id, timeline) => source.row(id, timeline),
      edits: (request) => source.edits?.(request) ?? raise(),
      remade: (kept) => source.remade?.(kept) ?? raise(),
      watch: (onWake) => {
        this.wake = onWake;
        return { close: () => undefined };
      },
    };
    const own = createOwnSource({
      db: state.db,
      table: 'audit_log',
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: (details) => details,
      clock: this.clock,
      server: 'here',
      history: state.historyOf('auditd'),
    });
    this.shipper = new Shipper({
      sources: [told, own],
      editsMs: EDITS_MS,
      onRevised: () => own.notify(),
      sinks: [...this.memorySinks(), ...this.fail2banSink()],
      state,
      clock: this.clock,
      log,
      onReplaced: (_, __, reason, lost) => {
        this.replaced.push(reason);
        this.lost.push(...lost);
      },
    });
    await this.shipper.start();
  }

  private memorySinks(): ConfiguredSink[] {
    const config = { ...schema.parse({}).sinks.audit, type: 'file' } as never;
    return Object.entries(this.sinks).map(([name, sink]) => ({ name, sink, config }));
  }

  private fail2banSink(): ConfiguredSink[] {
    if (this.table.fail2ban !== true) return [];
    const { sinks, fail2ban } = schema.parse({
      sinks: { auth: { type: 'fail2ban', directory: this.pair.directory, roll: { size: ROLL } } },
    });
    const config = sinks.auth;
    if (config?.type !== 'fail2ban') throw new Error('no sink for fail2ban');
    const deps = { name: 'auth', minFree: 1, clock: this.clock, log: pino({ level: 'silent' }) };
    return [{ name: 'auth', sink: createFail2banSink(config, fail2ban, deps), config }];
  }

  /** The `event.id` of a row as it is now. */
  idOf(row: number): string | null {
    return this.source?.row(row, 1)?.id ?? null;
  }

  get stateDatabase(): string {
    return join(this.stateDirectory, 'state.db');
  }

  status() {
    return this.shipper?.status();
  }

  /** Has it look, and does not wait for anything. */
  poke(): void {
    this.wake();
  }

  /** Until each sink that is up has all there is. */
  async settle(): Promise<void> {
    for (let quiet = 0, tries = 0; quiet < 3; tries++) {
      if (tries > 2_000) throw new Error(`does not settle: ${JSON.stringify(this.shipper?.status())}`);
      const since = this.clock();
      const found = this.wake();
      await sleep(1);
      const status = this.shipper?.status();
      const busy = Object.entries(status?.sinks ?? {}).some(([name, sink]) => {
        if (sink.looks !== undefined)
          return (
            sink.state !== 'waiting for events' ||
            Object.values(sink.looks).some(({ at, left }) => at < since || left > 0)
          );
        return (
          !this.sinks[name as keyof typeof this.sinks].down &&
          (sink.lag_events > 0 ||
            sink.state !== 'waiting for events' ||
            sink.cursors.postern?.timeline !== status?.sources.postern?.timeline)
        );
      });
      quiet = found === true || busy ? 0 : quiet + 1;
    }
  }

  /**
   * The process dies: state.db and the pair are as they were left, and the sinks have what they had.
   *
   * @param torn bytes of the pair's last line that had not been written yet
   * @param whileDown what happens before it starts again
   */
  async crash(torn = 0, whileDown: () => void = () => undefined): Promise<void> {
    const left = `${join(this.directory, 'state')}-${++this.crashes}`;
    cpSync(this.stateDirectory, left, { recursive: true });
    const restore = this.pair.snapshot(torn);
    const had = Object.values(this.sinks).map((sink) => [sink, sink.got.length] as const);
    await this.stop();
    for (const [sink, length] of had) {
      sink.got.length = length;
      sink.isAfterCrash = true;
    }
    this.stateDirectory = left;
    restore();
    whileDown();
    await this.start();
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

function raise(): never {
  throw new Error('there is none');
}
