import type { KeyObject } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClassifier } from '../../src/audit/catalog.js';
import { parseConfig } from '../../src/config/load.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import type { Removal } from '../../src/retention/archive/anchor.js';
import { contentsOf } from '../../src/retention/archive/archive-files.js';
import type { ExpiredArchive } from '../../src/retention/archive/expire.js';
import type { KnownRecord } from '../../src/retention/archive/legal-hold-records.js';
import { createRead } from '../../src/retention/database-reader.js';
import { fileAt } from '../../src/retention/file-identity.js';
import { LegalWatch } from '../../src/retention/legal-holds.js';
import type { Purger } from '../../src/retention/purge/client.js';
import { Deleter } from '../../src/retention/purge/deleter.js';
import { ArchiveReader } from '../../src/retention/purge/read-archive.js';
import { RowEligibility } from '../../src/retention/row-eligibility.js';
import { type RunResult, runRetention } from '../../src/retention/run.js';
import type { Hold } from '../../src/retention/sink-holds.js';
import { type PurgedNote, pendingArchives, rowsOf } from '../../src/retention/unfinished-archives.js';
import { RowReader } from '../../src/source/row-to-event.js';
import { COMPRESSION } from './archive/compression.js';

export const DAY = 86_400_000;
export const NOW = Date.UTC(2026, 10, 25, 12);
export const SOURCE_ID = '0123456789abcdef0123456789abcdef';

export function sqlTime(time: number): string {
  return new Date(time).toISOString().slice(0, 19).replace('T', ' ');
}

export interface Row {
  readonly created: unknown;
  readonly action?: unknown;
  readonly type?: string | null;
  readonly details?: unknown;
}

/** A Postern database and an archive directory, with runs in this process. */
export class RetentionRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-retention-'));
  readonly database: string;
  readonly archive = join(this.directory, 'archive');
  readonly db: Database;
  purged: PurgedNote | null = null;
  /** `source.time_zone` */
  timeZone = 'UTC';
  removals: Removal[] = [];
  /** Records of legal holds in state.db. */
  legal: KnownRecord[] = [];
  /** Messages of runs about anchors that do not count. */
  readonly refused: string[] = [];
  /** Which archives past their age may be removed; default: all. */
  expire: (expired: readonly ExpiredArchive[]) => number = (expired) => expired.at(-1)?.sequence ?? 0;
  clock = NOW;
  /** The largest row that is archived, in octets; undefined: the technical limit. */
  largest: number | undefined;

  /** @param database an existing one; omitted: a new one */
  constructor(setUp: (db: Database) => void = () => undefined, database: string | null = null) {
    this.database = database ?? join(this.directory, 'posternproxy.db');
    this.db = new Database(this.database);
    setUp(this.db);
    this.db.pragma('journal_mode = WAL');
    createAuditTable(this.db);
  }

  insert(rows: readonly Row[]): void {
    const statement = this.db.prepare(
      'INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, ?, ?, ?)',
    );
    this.db.transaction(() => {
      for (const { created, action = 'update', type = 'proxy_host', details = null } of rows)
        statement.run(created, action, type, details);
    })();
  }

  ids(): number[] {
    return this.db.prepare('SELECT id FROM audit_log ORDER BY id').pluck().all() as number[];
  }

  config(retention: string) {
    const text = `source: { database: ${this.database}, time_zone: ${this.timeZone} }\nretention: { enabled: true, ${retention.includes('archive:') ? '' : `archive: { directory: ${this.archive}, compression: ${COMPRESSION} }, `}${retention} }`;
    return parseConfig(text, 'c.yml');
  }

  /** The purge, in this process instead of a unit or a child process. @param retention YAML of further keys, as read by the purge */
  purger(retention: string): Purger {
    const config = this.config(retention);
    const deleter = new Deleter({ config, clock: () => this.clock, ...this.largestRow() });
    const { directory } = config.retention.archive;
    const archives = new ArchiveReader({ directory, source: 'postern', table: config.source });
    const file = fileAt(this.database);
    return {
      probe: async () => void (await deleter.probe(file)),
      purge: async (piece, holds) => {
        const legal = new LegalWatch(directory, holds);
        return deleter.delete(archives.read(piece), { below: piece.below, file, legal });
      },
      shrink: () => deleter.shrink(),
      close: () => archives.close(),
    };
  }

  /** @param retention YAML of further keys */
  run(
    retention: string,
    options: {
      readonly limit?: number;
      readonly holds?: readonly Hold[];
      readonly signal?: AbortSignal;
      readonly sourceId?: string;
      readonly sign?: KeyObject;
      readonly purger?: (usual: Purger) => Purger;
    } = {},
  ): Promise<RunResult> {
    const config = this.config(retention);
    const usual = this.purger(retention);
    const file = fileAt(this.database);
    const classify = createClassifier();
    return runRetention({
      targets: [
        {
          source: 'postern',
          timeline: 1,
          table: config.source,
          retention: config.retention,
          read: createRead(this.database, file),
          rows: new RowReader({
            name: 'postern',
            sourceId: options.sourceId ?? SOURCE_ID,
            server: 's',
            classify,
            redact: () => null,
          }),
          eligibility: new RowEligibility(config.source, classify),
          holds: options.holds ?? [],
          limit: options.limit ?? Number.MAX_SAFE_INTEGER,
          purger: async () => options.purger?.(usual) ?? usual,
          delivered: null,
          ...this.largestRow(),
        },
      ],
      archive: config.retention.archive,
      minFree: 0,
      sourceId: options.sourceId ?? SOURCE_ID,
      run: 'test',
      sign: options.sign ?? null,
      purged: this.purged,
      removals: this.removals,
      legal: this.legal,
      onAnchor: (note) => {
        if ('record' in note) this.removals.push(note.record);
        else this.refused.push(note.refused.why);
      },
      onExpired: async (expired) => {
        const upTo = this.expire(expired);
        const newest = expired.find(({ sequence }) => sequence === upTo);
        if (newest === undefined) return null;
        const { sequence, sha256 } = newest;
        const { directory } = config.retention.archive;
        const time = new Date(this.clock).toISOString();
        const removal: Removal = { directory, sequence, sha256, time, adopted: null };
        this.removals.push(removal);
        return removal;
      },
      clock: () => this.clock,
      signal: options.signal ?? new AbortController().signal,
      onProgress: () => undefined,
      onArchived: () => undefined,
      onDeleted: () => undefined,
      onPurged: (note) => {
        this.purged = note;
      },
      unsettled: [],
      onPurging: () => Promise.resolve(),
      onSettled: (_, note) => {
        if (note !== null) this.purged = note;
      },
    });
  }

  private largestRow(): { largest?: number } {
    return this.largest === undefined ? {} : { largest: this.largest };
  }

  archived(): number[] {
    return archivedIds(this.archive);
  }

  close(): void {
    this.db.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Ids in all finished archives, in order: a row in two archives is listed twice. */
export function archivedIds(directory: string, source = 'postern'): number[] {
  if (!existsSync(directory)) return [];
  contentsOf(directory);
  return pendingArchives(directory, null)
    .filter((manifest) => manifest.source === source)
    .flatMap((manifest) => [...rowsOf(directory, manifest)].flat().map(({ id }) => id));
}
