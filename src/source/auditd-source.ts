import type Database from 'better-sqlite3';
import type { Classifier } from '../audit/catalog.js';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { Redactor } from '../audit/redaction.js';
import { messageOf } from '../errors.js';
import { ticker } from '../ticker.js';
import { PageReader } from './page-reader.js';
import type { RowGuard } from './quarantine.js';
import { RowReader } from './row-to-event.js';
import { type AuditSource, type History, type ReadRequest, type ReadResult, waiting } from './source.js';
import {
  AUDITD_TABLE,
  type AuditTable,
  REVISION_COLUMNS,
  TableCache,
  type TableProblem,
} from './table-schema.js';

export interface OwnSourceOptions {
  /** Default: auditd. */
  readonly name?: SourceName;
  /** An open database of ours. */
  readonly db: Database.Database;
  /** Its name in messages; default: state.db. */
  readonly place?: string;
  /** See `RowOptions.foreign`. */
  readonly foreign?: boolean;
  /** See `RowOptions.guard`. */
  readonly guard?: RowGuard;
  /** See `RowOptions.quarantined`. */
  readonly quarantined?: ReadonlySet<string>;
  /** See `RowOptions.idOf`. */
  readonly idOf?: (rowId: bigint) => string | null;
  readonly table: string;
  readonly sourceId: string;
  readonly classify: Classifier;
  readonly redact: Redactor;
  /** See `RowOptions.trustedProxies`: the address in a later version of Postern's row is treated as in that row. */
  readonly trustedProxies?: readonly string[];
  readonly clock: () => number;
  readonly server: string;
  /** What was recorded of earlier rows; without it, a deleted row at the mark looks like a replaced history. */
  readonly history?: History;
}

export interface OwnSource extends AuditSource {
  /** Called after rows are committed: wakes the watchers soon, but not synchronously. */
  notify(): void;
}

/** Delay after a failed read. */
const RETRY_MS = 5_000;
/** A safety net for rows recorded without a call of `notify`. */
const POLL_MS = 60_000;

/** Reads an audit table of the daemon's own over the connection it already has. */
export function createOwnSource(options: OwnSourceOptions): OwnSource {
  return new OwnTable(options);
}

class OwnTable implements OwnSource {
  readonly name: SourceName;
  private readonly database: string;
  private readonly tables: TableCache;
  private readonly reader: PageReader;
  private readonly wakes = new Set<() => unknown>();
  private pending: NodeJS.Immediate | null = null;
  private hasFailed = false;

  constructor(private readonly options: OwnSourceOptions) {
    const {
      name = 'auditd',
      place: database = 'state.db',
      table,
      sourceId,
      server,
      classify,
      redact,
      clock,
    } = options;
    this.name = name;
    this.database = database;
    this.tables = new TableCache({ ...AUDITD_TABLE, table }, undefined, REVISION_COLUMNS);
    const history = options.history ?? { fingerprintOf: () => null };
    this.reader = new PageReader(
      new RowReader({
        name,
        sourceId,
        server,
        classify,
        redact,
        foreign: options.foreign === true,
        ...(options.guard === undefined ? {} : { guard: options.guard }),
        ...(options.quarantined === undefined ? {} : { quarantined: options.quarantined }),
        ...(options.trustedProxies === undefined ? {} : { trustedProxies: options.trustedProxies }),
        ...(options.idOf === undefined ? {} : { idOf: options.idOf }),
      }),
      history,
      clock,
    );
  }

  read(request: ReadRequest): ReadResult {
    try {
      const found = this.inTransaction((table) => this.reader.read(this.options.db, table, request));
      this.hasFailed = 'message' in found;
      return 'message' in found ? waiting(found.state, `${this.database}: ${found.what}`, found) : found;
    } catch (error) {
      this.hasFailed = true;
      const what = `reading table ${this.options.table} of ${this.database} failed: ${messageOf(error)}`;
      return waiting('failed', `${what}; trying again`);
    }
  }

  row(id: number, timeline: number): AuditEvent | null {
    const found = this.inTransaction((table) => this.reader.row(this.options.db, table, id, timeline));
    return found === null || 'message' in found ? null : found;
  }

  notify(): void {
    this.pending ??= setImmediate(() => {
      this.pending = null;
      for (const wake of this.wakes) wake();
    });
  }

  watch(onWake: () => unknown): { close(): void } {
    this.wakes.add(onWake);
    const poll = ticker.every(POLL_MS, () => onWake());
    const retry = ticker.every(RETRY_MS, () => this.hasFailed && onWake());
    this.notify();
    return {
      close: () => {
        poll.close();
        retry.close();
        this.wakes.delete(onWake);
      },
    };
  }

  private inTransaction<T>(work: (table: AuditTable) => T): T | TableProblem {
    const { db } = this.options;
    const read = () => {
      const table = this.tables.get(db);
      return 'state' in table ? table : work(table);
    };
    return db.inTransaction ? read() : db.transaction(read)();
  }
}
