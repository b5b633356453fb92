import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { EventType } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { config as schema } from '../../src/config/schema.js';
import { createPosternSource, type PosternSourceOptions } from '../../src/source/postern-source.js';
import type { AuditSource, HighWaterMark, ReadRequest, ReadResult } from '../../src/source/source.js';

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
function classify(action: string, resourceType: string | null): EventType {
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

export { Reader, Writer } from './process.js';

export const START: HighWaterMark = { timeline: 1, id: 0, fingerprint: null };

export function request(mark: HighWaterMark, options: Partial<ReadRequest> = {}): ReadRequest {
  return { mark, after: mark.id, maxRows: 2_000, maxBytes: 4 * 2 ** 20, ...options };
}

export type ReadingLook = Extract<ReadResult, { state: 'reading' }>;

/** The look, which must have been able to read. */
export function reading(look: ReadResult): ReadingLook {
  if (look.state !== 'reading') throw new Error(`expected to read, got ${JSON.stringify(look)}`);
  return look;
}

export function markAt(event: AuditEvent): HighWaterMark {
  return { timeline: event.timeline, id: event.sequence, fingerprint: event.id.slice(0, 16) };
}

/** Reads all there is behind the mark and records it, as the shipping loop does. */
export function readOn(
  { source, recorded }: Reading,
  from: HighWaterMark,
): { mark: HighWaterMark; ids: number[] } {
  let mark = from;
  const ids: number[] = [];
  for (;;) {
    const look = reading(source.read(request(mark)));
    for (const event of look.events) {
      ids.push(event.sequence);
      recorded.set(`${mark.timeline}:${event.sequence}`, event.id.slice(0, 16));
    }
    const last = look.events.at(-1);
    if (last !== undefined) mark = markAt(last);
    if (!look.more) return { mark, ids };
  }
}
