import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuditTable, createRecorder } from 'postern-auditd/recorder';
import Database from '#sqlite';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

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

/** CPU seconds (user and system) and resident bytes of a process, from /proc. */
export function usage(pid: number): { cpu: number; rss: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return { cpu: ticks / 100, rss: Number(resident) * 1024 };
}

export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const MB = 2 ** 20;
