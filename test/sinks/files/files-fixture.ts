import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import type { AuditEvent, SourceName } from '../../../src/audit/event.js';
import { fail2banSink, fileSink } from '../../../src/config/schema.js';
import { parseEcsPosition } from '../../../src/formats/ecs-position.js';
import { parseFail2banLine } from '../../../src/formats/fail2ban-line.js';
import type { FileSinkDeps } from '../../../src/sinks/files/file-sink.js';
import type { Batch } from '../../../src/sinks/sink.js';

/** A moment in the middle of a Thursday. */
export const NOON = Date.UTC(2026, 10, 26, 12);

/** A failed login from 203.0.113.7 at `NOON`, with what is given put over it. */
export function failure(sequence: number, over: Partial<AuditEvent> = {}): AuditEvent {
  const source = over.source ?? 'postern';
  const timeline = over.timeline ?? 1;
  return {
    source,
    timeline,
    sequence,
    id: idOf(source, timeline, sequence),
    time: NOON,
    rawTime: null,
    ingested: NOON,
    type: {
      action: 'auth.login_failure',
      category: 'auth',
      known: true,
      outcome: 'failure',
      severity: 'warning',
      title: 'Login failed',
      ecs: { category: ['authentication'], type: ['start'] },
      ocsf: { classUid: 3002, activityId: 1 },
      cef: { signature: 'auth.login_failure', name: 'Login failed' },
      aliases: [],
    },
    action: 'auth.login_failure',
    rawAction: 'login_failure',
    user: { id: null, name: 'mallory', email: null },
    resource: { type: 'user', id: null },
    address: '203.0.113.7',
    rawAddress: null,
    server: 'here',
    local: true,
    revisionOf: null,
    details: '{"reason":"wrong password"}',
    ...over,
  };
}

export function idOf(source: SourceName, timeline: number, sequence: number): string {
  return `${source === 'postern' ? 'a' : 'b'}${timeline.toString(16).padStart(3, '0')}${sequence.toString(16).padStart(28, '0')}`;
}

/** Rows `from` to `to` of one source. */
export function batch(from: number, to: number, over: Partial<AuditEvent> = {}, upTo = to): Batch {
  const events = Array.from({ length: to - from + 1 }, (_, i) => failure(from + i, over));
  return { source: over.source ?? 'postern', timeline: over.timeline ?? 1, events, upTo };
}

export function temporaryDirectory(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'postern-sinks-'));
}

export const NEVER = new AbortController().signal;

interface Heard {
  readonly level: number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** A logger and what it was told. */
export function listener() {
  const heard: Heard[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => heard.push(JSON.parse(line) as Heard) });
  return { log, heard, warnings: () => heard.filter((h) => h.level >= 40).map((h) => h.msg) };
}

/** Dependencies with a clock that the test sets. */
export function dependencies(over: Partial<FileSinkDeps> = {}) {
  const time = { now: NOON };
  const ears = listener();
  const deps: FileSinkDeps = { name: 'test', clock: () => time.now, minFree: 0, log: ears.log, ...over };
  return { deps, time, ...ears };
}

export function fileConfig(
  directory: string,
  roll: { size?: string; every?: string | null; keep?: number } = {},
  group: string | null = null,
) {
  return fileSink.parse({ type: 'file', directory, group, roll });
}

export function fail2banConfig(directory: string, size = '20M') {
  return fail2banSink.parse({ type: 'fail2ban', directory, group: null, roll: { size } });
}

/** Names of the rolled files, oldest first. */
export function logNames(directory: string): string[] {
  return fs
    .readdirSync(directory)
    .filter((name) => /^audit\.\d+\.log$/.test(name))
    .sort();
}

/** Everything in the rolled files, in order. */
export function rolledText(directory: string): string {
  return logNames(directory)
    .map((name) => fs.readFileSync(path.join(directory, name), 'utf8'))
    .join('');
}

export interface Rows {
  readonly rows: Array<{ source: SourceName; timeline: number; sequence: number; id: string }>;
  /** Lines that are none of ours, headers not counted; a torn end among them. */
  readonly broken: string[];
}

/** The rows that stand in a text of lines. */
export function rowsIn(text: string): Rows {
  const lines = text.split('\n');
  const torn = lines.pop();
  const result: Rows = { rows: [], broken: torn === '' || torn === undefined ? [] : [torn] };
  for (const line of lines) {
    const row = parseEcsPosition(line) ?? parseFail2banLine(line);
    if (row !== null) result.rows.push(row);
    else if (!line.includes('"daemon.log_opened"')) result.broken.push(line);
  }
  return result;
}

export function sequences(text: string, source: SourceName = 'postern'): number[] {
  const { rows, broken } = rowsIn(text);
  if (broken.length > 0)
    throw new Error(`broken lines: ${broken.map((line) => line.slice(0, 80)).join(' | ')}`);
  return rows.filter((row) => row.source === source).map((row) => row.sequence);
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** The pair's text in the order in which it was written. */
export function pairText(directory: string): string {
  const texts = ['fail2ban.0.log', 'fail2ban.1.log'].map((name) =>
    fs.readFileSync(path.join(directory, name), 'utf8'),
  );
  const number = (text: string): number => Number(/"number":(\d+)/.exec(text.split('\n', 1)[0] ?? '')?.[1]);
  return texts.sort((a, b) => number(a) - number(b)).join('');
}
