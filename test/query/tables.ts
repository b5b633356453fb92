import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { config as schema } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import type { QueryEngine } from '../../src/query/engine.js';
import type { Format } from '../../src/query/export.js';
import type { Filter } from '../../src/query/filter.js';
import type { QueryOptions } from '../../src/query/query-options.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import { TableRows } from '../../src/retention/archive/table-rows.js';
import { createArchive, monthOf } from '../../src/retention/archive/write.js';
import { COMPRESSION } from '../retention/archive/compression.js';
import { CONFIG, rowReader, SOURCE_ID } from '../retention/archive/table.js';

/** What a test puts into a row; what is left out is NULL, but for the time. */
export interface TestRow {
  readonly created_at?: unknown;
  readonly user_id?: unknown;
  readonly user_name?: unknown;
  readonly user_email?: unknown;
  readonly action?: unknown;
  readonly resource_type?: unknown;
  readonly resource_id?: unknown;
  readonly details?: unknown;
  readonly ip_address?: unknown;
  readonly server?: unknown;
}

const COLUMNS = [
  'created_at',
  'user_id',
  'user_name',
  'user_email',
  'action',
  'resource_type',
  'resource_id',
  'details',
  'ip_address',
  'server',
] as const;

export const SERVER = 'proxy-1';

/** Postern's database and a state.db, open for writing as their owners have them. */
export class Tables {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-query-test-'));
  readonly database = join(this.directory, 'posternproxy.db');
  readonly stateDatabase = join(this.directory, 'state.db');
  readonly archives = join(this.directory, 'archive');
  readonly postern: Database;
  readonly state: Database;

  constructor(options: { indexes?: boolean } = {}) {
    this.postern = open(this.database);
    this.state = open(this.stateDatabase);
    if (options.indexes === false) {
      const indexes = this.postern
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .pluck()
        .all() as string[];
      for (const name of indexes) this.postern.exec(`DROP INDEX "${name}"`);
    }
  }

  options(source: Record<string, unknown> = {}, redact: Record<string, unknown> = {}): QueryOptions {
    const config = schema.parse({ source: { database: this.database, ...source }, redact });
    return {
      database: this.database,
      table: config.source.table,
      columns: config.source.columns,
      aliases: config.source.aliases,
      trustedProxies: config.source.trusted_proxies,
      timeZone: config.source.time_zone,
      stateDatabase: this.stateDatabase,
      archives: this.archives,
      redact: config.redact,
      server: SERVER,
    };
  }

  insert(rows: readonly TestRow[], db: Database = this.postern): void {
    const statement = db.prepare(
      `INSERT INTO audit_log (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`,
    );
    db.transaction(() => {
      for (const row of rows) {
        statement.run(
          COLUMNS.map((column) =>
            column === 'created_at'
              ? (row.created_at ?? '2026-11-01 00:00:00')
              : column === 'action'
                ? (row.action ?? 'update')
                : (row[column] ?? null),
          ),
        );
      }
    })();
  }

  /** Puts rows of Postern's table into archives, month by month, in one run. */
  async archive(ids: readonly number[], timeZone = 'UTC'): Promise<void> {
    const table = { ...CONFIG, time_zone: timeZone };
    const rows = () => new TableRows(this.postern, table, rowReader());
    const found = rows().byIds([...ids].sort((a, b) => a - b));
    for (const month of new Set(found.map(({ time }) => monthOf(time)))) {
      const writer = createArchive({
        directory: this.archives,
        source: 'postern',
        sourceId: SOURCE_ID,
        timeline: 1,
        table: rows().shape,
        month,
        run: 'test',
        compression: COMPRESSION,
        sign: null,
        clock: Date.now,
      });
      for (const row of found) if (monthOf(row.time) === month) writer.add(row);
      await writer.finish((some) => rows().byIds(some));
    }
  }

  clear(): void {
    rmSync(this.archives, { recursive: true, force: true });
    for (const db of [this.postern, this.state]) {
      db.exec("DELETE FROM audit_log; DELETE FROM sqlite_sequence WHERE name = 'audit_log'");
    }
  }

  remove(): void {
    this.postern.close();
    this.state.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function open(path: string): Database {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  createAuditTable(db);
  db.exec('CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)');
  return db;
}

/** What an export writes. */
export function exported(engine: QueryEngine, filter: Filter, format: Format = 'ndjson'): string {
  let text = '';
  for (const { bytes } of engine.export(filter, format)) text += textOf(bytes);
  return text;
}

/** Of a chunk, before the next one comes. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

/** `2026-11-01 00:00:00` and so many seconds. */
export function seconds(offset: number): string {
  return new Date(Date.UTC(2026, 10, 1) + offset * 1_000).toISOString().slice(0, 19).replace('T', ' ');
}
