import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { DaemonStatus } from '../../src/control/status.js';
import Database from '../../src/load-sqlite.js';
import {
  createAuditTable,
  createRecorder,
  type NewEntry,
  type Recorder,
} from '../../src/recorder/recorder.js';
import { DaemonProcess } from '../support/daemon-process.js';

export interface Line {
  readonly source: string;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
  readonly action: string;
  /** `@timestamp` */
  readonly time: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

export interface RigOptions {
  /** Directory of everything except Postern's database; default: beside it. */
  readonly place?: string;
  /** YAML of `sinks.audit.roll`. */
  readonly roll?: string;
  readonly extra?: string;
  /** YAML of further keys of `source`. */
  readonly source?: string;
  readonly minFree?: string;
  /** YAML of `api`; off by default, so that parallel daemons do not share a port. */
  readonly api?: string;
  /** Added to the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The real daemon as a process, with a Postern database that this process writes. */
export class DaemonRig extends DaemonProcess {
  readonly database = join(this.directory, 'posternproxy.db');
  readonly place: string;
  private readonly pair = new Map<string, Line[]>();
  db: Database;
  recorder: Recorder;

  constructor(private readonly options: RigOptions = {}) {
    super('daemon', [], options.env);
    this.place = options.place ?? this.directory;
    this.configure();
    [this.db, this.recorder] = this.open();
  }

  /** Rewrites the configuration with another `api`. */
  setApi(yaml: string): void {
    this.configure(this.options.extra ?? '', yaml);
  }

  configure(
    extra = this.options.extra ?? '',
    api = this.options.api ?? '{ enabled: false }',
    source = this.options.source ?? '',
  ): void {
    const { place } = this;
    writeFileSync(
      this.configPath,
      `server: here
source: { database: ${this.database}${source === '' ? '' : `, ${source}`} }
state: ${place}/state
control: ${this.control}
log: { level: info }
min_free: ${this.options.minFree ?? '1M'}
sinks:
  audit: { type: file, directory: ${place}/audit, roll: ${this.options.roll ?? '{ size: 100M }'} }
  auth: { type: fail2ban, directory: ${place}/auth, roll: { size: 64K } }
fail2ban: { bans: ${place}/bans/bans.log }
api: ${api}
${extra}
`,
    );
  }

  record(entry: NewEntry): number {
    return this.recorder.record(entry);
  }

  /** Rows of several kinds in one commit, every third a fresh login failure; each with a text of its own. */
  append(count: number): void {
    this.db.transaction(() => {
      for (let n = 0; n < count; n++) {
        const details = { n: `${Date.now()}-${Math.random()}` };
        if (n % 3 === 0)
          this.record({
            action: 'auth.login_failure',
            address: '203.0.113.7',
            user: { name: 'eve' },
            details,
          });
        else this.record({ action: 'proxy_host.update', resourceId: n, details });
      }
    })();
  }

  /** Waits until every sink has every row that is in the table now. */
  async shipped(): Promise<DaemonStatus> {
    const last = this.db.prepare('SELECT coalesce(max(id), 0) FROM audit_log').pluck().get() as number;
    const rows = () => Number(this.db.prepare('SELECT count(*) FROM audit_log').pluck().get());
    return this.until(
      ({ sources, sinks }) =>
        sources.postern?.maxId === last &&
        Object.values(sinks).every(
          (sink) =>
            sink.lag_events === 0 &&
            (sink.looks?.postern?.left ?? 0) === 0 &&
            (rows() === 0 || ((sink.looks ?? sink.cursors).postern?.id ?? 0) >= last),
        ),
      'all shipped',
    );
  }

  /** Waits until the rows up to this one are synced to disk by the file sink, so that retention may remove them. */
  async durable(id: number): Promise<DaemonStatus> {
    return this.until(
      ({ sinks }) => (sinks.audit?.held_from.postern ?? 0) > id,
      'what was shipped is durable',
    );
  }

  backup(): string {
    const path = join(this.directory, `backup-${readdirSync(this.directory).length}.db`);
    this.db.exec(`VACUUM INTO '${path}'`);
    return path;
  }

  restore(backup: string): void {
    this.db.close();
    copyFileSync(backup, `${backup}.new`);
    // If the daemon was just reading, the close above was not the last one and has left the old file's log.
    for (const suffix of ['-wal', '-shm']) rmSync(`${this.database}${suffix}`, { force: true });
    renameSync(`${backup}.new`, this.database);
    [this.db, this.recorder] = this.open();
  }

  auditLines(): Line[] {
    const directory = join(this.place, 'audit');
    const names = readdirSync(directory)
      .filter((name) => /^audit\.\d+\.log$/.test(name))
      .sort();
    return names.flatMap((name) => linesOf(join(directory, name)));
  }

  /**
   * Remembers the lines of the pair by the header of each file: after two rotations, at least a minute apart, a file is
   * gone. To be called while no daemon runs.
   */
  collectAuth(): void {
    for (const n of [0, 1]) {
      const path = join(this.place, 'auth', `fail2ban.${n}.log`);
      if (!existsSync(path)) continue;
      const text = readFileSync(path, 'utf8');
      const [header = '', ...lines] = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      this.pair.set(header, lines.slice(0, -1).map(lineOf));
    }
  }

  /** Lines of all files of the pair that ever existed, without their headers. */
  authLines(): Line[] {
    this.collectAuth();
    return [...this.pair.values()].flat();
  }

  override async close(): Promise<void> {
    await this.kill();
    this.db.close();
    await super.close();
  }

  private open(): [Database, Recorder] {
    mkdirSync(this.directory, { recursive: true });
    const db = new Database(this.database);
    db.pragma('journal_mode = WAL');
    createAuditTable(db);
    return [db, createRecorder(db)];
  }
}

/** @throws if the last line is incomplete */
export function linesOf(path: string): Line[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  if (text !== '' && !text.endsWith('\n')) throw new Error(`${path} ends in a torn line: ${text.slice(-80)}`);
  return text.split('\n').slice(0, -1).map(lineOf);
}

function lineOf(line: string): Line {
  const { event, postern, ...rest } = JSON.parse(line) as {
    '@timestamp': string;
    event: { sequence: number; id: string; action: string };
    postern: { source: string; timeline: number; details?: Record<string, unknown> };
  };
  const { source, timeline, details } = postern;
  const { sequence, id, action } = event;
  return { source, timeline, sequence, id, action, time: rest['@timestamp'], details };
}
