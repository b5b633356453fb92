import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClassifier } from '../../../src/audit/catalog.js';
import { createRedactor } from '../../../src/audit/redaction.js';
import Database from '../../../src/load-sqlite.js';
import { createAuditTable } from '../../../src/recorder/recorder.js';
import type { Removal } from '../../../src/retention/archive/anchor.js';
import { contentsOf } from '../../../src/retention/archive/archive-files.js';
import { readManifest } from '../../../src/retention/archive/manifest-chain.js';
import type { ArchivedRow } from '../../../src/retention/archive/row-codec.js';
import { TableRows } from '../../../src/retention/archive/table-rows.js';
import {
  type ArchiveOptions,
  type ArchiveWriter,
  createArchive,
  monthOf,
} from '../../../src/retention/archive/write.js';
import { RowReader } from '../../../src/source/row-to-event.js';
import { AUDITD_TABLE } from '../../../src/source/table-schema.js';
import { COMPRESSION } from './compression.js';

export const SOURCE_ID = '0123456789abcdef0123456789abcdef';
export const NOW = Date.UTC(2026, 10, 25);
export const CONFIG = AUDITD_TABLE; // Postern's table has the same names with the default mapping

export function rowReader(): RowReader {
  return new RowReader({
    name: 'postern',
    sourceId: SOURCE_ID,
    server: 'test',
    classify: createClassifier({}),
    redact: createRedactor({ keys: [], mode: 'mask' }),
  });
}

/** A Postern table and an archive directory for one test. */
export class ArchiveRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-archive-test-'));
  readonly archives = join(this.directory, 'archive');
  readonly database = join(this.directory, 'posternproxy.db');
  readonly db = new Database(this.database);

  constructor(sql?: string) {
    this.db.pragma('journal_mode = MEMORY');
    this.db.pragma('synchronous = OFF');
    if (sql === undefined) createAuditTable(this.db);
    else this.db.exec(sql);
  }

  get rows(): TableRows {
    return new TableRows(this.db, CONFIG, rowReader());
  }

  all(): ArchivedRow[] {
    return this.rows.after(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 1_000_000);
  }

  insert(created: string, details: unknown = null, action = 'update'): number {
    return Number(
      this.db
        .prepare('INSERT INTO audit_log (created_at, action, details) VALUES (?, ?, ?)')
        .run(created, action, details).lastInsertRowid,
    );
  }

  writer(month: string, more: Partial<ArchiveOptions> = {}): ArchiveWriter {
    return createArchive({
      directory: this.archives,
      source: 'postern',
      sourceId: SOURCE_ID,
      timeline: 1,
      table: this.rows.shape,
      month,
      run: 'test',
      compression: COMPRESSION,
      sign: null,
      clock: () => NOW,
      ...more,
    });
  }

  /** Archives all rows of the table by month, as retention does; `drop` deletes them afterwards. */
  async archive(more: Partial<ArchiveOptions> = {}, drop = false): Promise<void> {
    const rows = this.all();
    for (const month of [...new Set(rows.map(({ time }) => monthOf(time)))]) {
      const writer = this.writer(month, more);
      for (const row of rows) if (monthOf(row.time) === month) writer.add(row);
      await writer.finish((ids) => this.rows.byIds(ids));
    }
    if (drop) this.db.exec('DELETE FROM audit_log');
  }

  remove(): void {
    this.db.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The record of a decision to remove archives up to an existing one. */
export function removalOf(directory: string, sequence: number): Removal {
  const name = contentsOf(directory).manifests.get(sequence) ?? '';
  const { sha256 } = readManifest(directory, name);
  return { directory, sequence, sha256, time: new Date(NOW).toISOString(), adopted: null };
}
