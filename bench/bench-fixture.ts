import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuditTable, createRecorder } from 'postern-auditd/recorder';
import Database from '#sqlite';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

/** An environment without inherited variables: NODE_EXTRA_CA_CERTS alone costs each start 80 ms of CPU and 2 MB. */
export const ENV = { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: '/nonexistent' };

/** The Node.js flags of bin/postern-auditd. */
export const FLAGS = ['--max-semi-space-size=4'];

export interface Status {
  readonly sinks: Readonly<
    Record<
      string,
      {
        cursors: Record<string, { id: number }>;
        looks?: Record<string, { id: number; left: number }>;
        state: string;
      }
    >
  >;
}

/** A directory with a Postern database, a configuration, and the real daemon as a separate process. */
export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  readonly database = join(this.directory, 'posternproxy.db');
  readonly audit = join(this.directory, 'audit');
  readonly auth = join(this.directory, 'auth');
  readonly control = join(this.directory, 'control.sock');
  /** YAML of `api`, for the next `configure`. */
  api = '{ enabled: false }';
  private child: ChildProcess | null = null;

  constructor() {
    this.configure(`  audit: { type: file, directory: ${this.audit}, roll: { size: 2G } }
  auth: { type: fail2ban, directory: ${this.auth} }`);
  }

  /** @param sinks YAML, indented by two */
  configure(sinks: string): void {
    writeFileSync(
      join(this.directory, 'config.yml'),
      `server: bench
source: { database: ${this.database} }
state: ${this.directory}/state
control: ${this.control}
log: { level: warn }
min_free: 64M
sinks:
${sinks}
fail2ban: { bans: ${this.directory}/bans.log }
api: ${this.api}
`,
    );
  }

  /** Opens the database for writing as Postern does: WAL, with the given synchronous mode. */
  open(synchronous: 'NORMAL' | 'FULL' = 'NORMAL') {
    const db = new Database(this.database);
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${synchronous}`);
    createAuditTable(db);
    return { db, recorder: createRecorder(db) };
  }

  async start(): Promise<number> {
    const child = spawn(
      process.execPath,
      [...FLAGS, CLI, 'run', '--config', join(this.directory, 'config.yml')],
      {
        env: ENV,
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    );
    this.child = child;
    for (let tries = 0; tries < 200; tries++) {
      if ((await this.status()) !== null) return child.pid ?? 0;
      await sleep(25);
    }
    throw new Error('the daemon did not start within 5 s');
  }

  status(): Promise<Status | null> {
    return new Promise((done) => {
      const call = request({ socketPath: this.control, path: '/status' }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => done(JSON.parse(text) as Status));
      });
      call.on('error', () => done(null));
      call.end();
    });
  }

  /** Stops the daemon and deletes its state, so that the next one starts at the first row. */
  async forget(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child !== null && child.exitCode === null) {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(join(this.directory, 'state'), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.forget();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** CPU seconds (user and system), resident bytes and their highest value so far of a process, from /proc. */
export function usage(pid: number): { cpu: number; rss: number; peak: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  return { cpu: ticks / 100, rss: kilobytes('VmRSS') * 1_024, peak: kilobytes('VmHWM') * 1_024 };
}

export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** User and system CPU of a command and its children, in seconds. bash's `time` shows them to the millisecond. The output is thrown away. */
export function cpuOf(command: string, args: readonly string[]): number {
  const script = 'TIMEFORMAT="%3U %3S"; time "$@" >/dev/null 2>/dev/null';
  const { stderr } = spawnSync('bash', ['-c', script, 'bash', command, ...args], {
    env: ENV,
    encoding: 'utf8',
  });
  const [user = Number.NaN, system = Number.NaN] = stderr.trim().split(' ').map(Number);
  return user + system;
}

/** What Node.js needs at least: resident bytes, and CPU in milliseconds a second, of a process with one timer a second. */
export async function bareNode(seconds: number): Promise<{ rss: number; cpu: number }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], {
    env: ENV,
    stdio: 'ignore',
  });
  try {
    await sleep(2_000);
    const before = usage(child.pid ?? 0);
    await sleep(seconds * 1_000);
    const after = usage(child.pid ?? 0);
    return { rss: after.rss, cpu: ((after.cpu - before.cpu) * 1_000) / seconds };
  } finally {
    child.kill('SIGKILL');
  }
}

export const MB = 2 ** 20;
export const GB = 2 ** 30;
