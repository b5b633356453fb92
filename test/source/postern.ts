import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pino from 'pino';
import type { EventType } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { config as schema } from '../../src/config/schema.js';
import { createPosternSource, type PosternSourceOptions } from '../../src/source/postern.js';
import type { AuditSource, Look, LookRequest, Mark } from '../../src/source/source.js';

export const TABLE = `CREATE TABLE audit_log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT, user_id INTEGER, user_name TEXT, user_email TEXT, action TEXT,
  resource_type TEXT, resource_id TEXT, details TEXT, ip_address TEXT)`;

export const SOURCE_ID = '00112233445566778899aabbccddeeff';

/** A directory of its own, removed at the end of the test that asked for it. */
export function temporaryDirectory(onEnd: (work: () => void) => void): string {
  const directory = mkdtempSync(join(tmpdir(), 'postern-source-'));
  onEnd(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A stand-in for the catalog: what a row becomes is not the matter here. */
export function classify(action: string, resourceType: string | null): EventType {
  return {
    action: `${resourceType ?? 'unknown'}.${action}`,
    category: resourceType ?? 'unknown',
    known: false,
    outcome: 'unknown',
    severity: 'info',
    title: action,
    ecs: { category: [], type: [] },
    ocsf: { classUid: 0, activityId: 0 },
    cef: { signature: action, name: action },
    aliases: [],
  };
}

/** A program that has the database open in a process of its own. */
export class Writer {
  private readonly child: ChildProcess;
  private readonly lines: Interface;
  private readonly answers: AsyncIterator<string>;

  /** `as` runs it as another user, through setpriv. */
  constructor(path: string, as?: { uid: number; gid: number }) {
    const script = fileURLToPath(new URL('writer.mjs', import.meta.url));
    const command =
      as === undefined ? [] : ['setpriv', `--reuid=${as.uid}`, `--regid=${as.gid}`, '--clear-groups'];
    const [program = '', ...rest] = [...command, process.execPath, script, path];
    this.child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout ?? process.stdin });
    this.answers = this.lines[Symbol.asyncIterator]();
  }

  async ask(command: string, options: Record<string, unknown> = {}): Promise<unknown> {
    this.child.stdin?.write(`${JSON.stringify({ command, ...options })}\n`);
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error('the writer has ended');
    const answer = JSON.parse(value) as { value?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }

  async open(mode = 'wal'): Promise<this> {
    await this.ask('open', { mode });
    return this;
  }

  async exec(sql: string): Promise<void> {
    await this.ask('exec', { sql });
  }

  /** The highest id then. */
  async insert(count = 1, options: Record<string, unknown> = {}): Promise<number> {
    return Number(await this.ask('insert', { count, ...options }));
  }

  /** kill -9 */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
    this.lines.close();
  }

  /** Closes the database and ends, as a service does that is stopped. */
  async stop(): Promise<void> {
    await this.ask('close');
    await this.kill();
  }
}

export interface Reading {
  readonly source: AuditSource;
  /** What was recorded, as the shipping loop does. */
  readonly recorded: Map<string, string>;
  readonly warnings: string[];
}

export function openSource(
  database: string,
  options: Partial<Omit<PosternSourceOptions, 'config'>> & { source?: Record<string, unknown> } = {},
): Reading {
  const { source: sourceConfig, ...rest } = options;
  const recorded = new Map<string, string>();
  const warnings: string[] = [];
  const config = schema.parse({ source: { database, ...sourceConfig } });
  const log = pino(
    { level: 'warn' },
    {
      write: (line: string) => {
        warnings.push((JSON.parse(line) as { msg: string }).msg);
      },
    },
  );
  const source = createPosternSource({
    config: config.source,
    server: 'proxy-1',
    sourceId: SOURCE_ID,
    classify,
    redact: (details) => details,
    history: { fingerprintOf: (timeline, id) => recorded.get(`${timeline}:${id}`) ?? null },
    privateDirectory: `${database}.private`,
    clock: () => 1_763_842_860_000,
    log,
    ...rest,
  });
  return { source, recorded, warnings };
}

export const START: Mark = { timeline: 1, id: 0, fingerprint: null };

export function request(mark: Mark, options: Partial<LookRequest> = {}): LookRequest {
  return { mark, after: mark.id, maxRows: 2_000, maxBytes: 4 * 2 ** 20, ...options };
}

export type ReadingLook = Extract<Look, { state: 'reading' }>;

/** The look, which must have been able to read. */
export function reading(look: Look): ReadingLook {
  if (look.state !== 'reading') throw new Error(`expected to read, got ${JSON.stringify(look)}`);
  return look;
}

export function markAt(event: AuditEvent): Mark {
  return { timeline: event.timeline, id: event.sequence, fingerprint: event.id.slice(0, 16) };
}

/** Reads all there is behind the mark and records it, as the shipping loop does. */
export function readOn({ source, recorded }: Reading, from: Mark): { mark: Mark; ids: number[] } {
  let mark = from;
  const ids: number[] = [];
  for (;;) {
    const look = reading(source.look(request(mark)));
    for (const event of look.events) {
      ids.push(event.sequence);
      recorded.set(`${mark.timeline}:${event.sequence}`, event.id.slice(0, 16));
    }
    const last = look.events.at(-1);
    if (last !== undefined) mark = markAt(last);
    if (!look.more) return { mark, ids };
  }
}
