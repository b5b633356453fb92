import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import type { NetworkSet } from '../audit/address.js';
import { type Classifier, createClassifier } from '../audit/catalog.js';
import type { SourceName } from '../audit/event.js';
import { createRedactor, type RedactionOptions } from '../audit/redaction.js';
import { AuditdError } from '../errors.js';
import { ChainReader } from '../retention/archive/complete-chain.js';
import { signingKey } from '../retention/archive/signing-key.js';
import { NOTHING_RECORDED, type RecordedArchives, RecordedReader } from '../retention/recorded-archives.js';
import { readHmacKey, readNote } from '../shipping/state-queries.js';
import { SILENT_LOG } from '../silent-log.js';
import { type ColumnsRead, columnsNote, parseColumnsRead } from '../source/columns-seen.js';
import { QUARANTINED_PLACES, quarantinedIn } from '../source/quarantine.js';
import { RowReader, trustedSet } from '../source/row-to-event.js';
import { AUDITD_TABLE, type TableConfig } from '../source/table-schema.js';
import { ArchiveIndex } from './archives/archive-reader.js';
import { ArchivedReader } from './archives/archived-row.js';
import { DatabaseReader } from './database-reader.js';
import type { Filter } from './filter.js';
import { TableInspector } from './plan/table-schema.js';
import {
  type Gone,
  goneOf,
  hasVersions,
  hidesVersions,
  hubVersionsOf,
  revisedRows,
  type VersionsById,
  versionsOf,
  withoutHubVersions,
  withoutVersions,
} from './plan/versions.js';
import { ZoneMap } from './plan/zone-map.js';
import { newCopiesDirectory, type QueryOptions } from './query-options.js';

/** A table that is queried. */
export interface QuerySource {
  readonly name: SourceName;
  readonly table: TableInspector;
  readonly zones: ZoneMap;
  readonly rows: RowReader;
  readonly archived: ArchivedReader;
  read<T>(work: (db: Database) => T): T;
}

function tableOf({ table, columns, timeZone = 'UTC' }: QueryOptions): TableConfig {
  return { table, columns, time_zone: timeZone };
}

/** The tables of queries, and the readers that turn their rows into events. */
export class QuerySources {
  readonly classify: Classifier;
  readonly trusted: NetworkSet | null;
  private readonly directory: string;
  private readonly postern: DatabaseReader;
  private readonly state: DatabaseReader;
  private readonly chain: ChainReader | null;
  private readonly recorded = new RecordedReader();
  private readonly tables: { readonly postern: TableInspector; readonly auditd: TableInspector };
  private readonly zones: { readonly postern: ZoneMap; readonly auditd: ZoneMap };
  private rows: { postern: RowReader; auditd: RowReader } | null = null;

  constructor(private readonly options: QueryOptions) {
    this.directory = options.copies ?? newCopiesDirectory();
    this.classify = createClassifier(options.aliases);
    this.trusted = trustedSet(options.trustedProxies);
    const { archives, sign = null } = options;
    const key = () => (sign === null ? null : signingKey(sign));
    this.chain = archives === undefined ? null : new ChainReader(archives, key);
    this.tables = {
      postern: new TableInspector(tableOf(options), () => this.columnsRead()),
      auditd: new TableInspector(AUDITD_TABLE),
    };
    const { zoneRows: rows, timeZone } = options;
    this.zones = { postern: new ZoneMap({ rows, timeZone }), auditd: new ZoneMap({ rows }) };
    const log = SILENT_LOG;
    this.postern = new DatabaseReader(options.database, join(this.directory, 'postern'), log);
    this.state = new DatabaseReader(options.stateDatabase, join(this.directory, 'auditd'), log, true);
  }

  /** The tables that a filter needs and that exist. Postern's own table is required. */
  of(source: SourceName | null): QuerySource[] {
    const wanted: QuerySource[] = [];
    this.rows ??= this.readers();
    if (source !== 'auditd') {
      wanted.push({
        name: 'postern',
        table: this.tables.postern,
        zones: this.zones.postern,
        rows: this.rows.postern,
        archived: new ArchivedReader(tableOf(this.options), this.rows.postern),
        read: (work) => this.postern.read(work),
      });
    }
    if (source !== 'postern' && this.state.exists()) {
      wanted.push({
        name: 'auditd',
        table: this.tables.auditd,
        zones: this.zones.auditd,
        rows: this.rows.auditd,
        archived: new ArchivedReader(AUDITD_TABLE, this.rows.auditd),
        read: (work) => this.readState(work),
      });
    }
    return wanted;
  }

  /** The versions of Postern's rows, by row id. */
  versionsOf(ids: readonly number[]): VersionsById {
    this.rows ??= this.readers();
    const { postern, auditd } = this.rows;
    if (ids.length === 0) return new Map();
    if (this.options.isHub === true) return this.postern.read((db) => hubVersionsOf(db, postern, ids));
    return this.state.exists() ? this.readState((db) => versionsOf(db, auditd, ids)) : new Map();
  }

  /** Whether any row of Postern has versions. */
  hasVersions(): boolean {
    if (this.options.isHub === true) return this.postern.read(hasVersions);
    return this.state.exists() && this.readState(hasVersions);
  }

  /** Whether a table has versions of edited rows that the filter excludes, as they are added to their row. */
  hides(filter: Filter, { name }: Pick<QuerySource, 'name'>): boolean {
    return hidesVersions(filter) && (name === 'auditd' || this.options.isHub === true);
  }

  /** SQL for the rows of a table to exclude; null if there are none. @param gone the result of `gone` */
  without(db: Database, filter: Filter, origin: Pick<QuerySource, 'name'>, gone: Gone | null): string | null {
    if (!this.hides(filter, origin)) return null;
    return origin.name === 'auditd' ? withoutVersions(db, gone) : withoutHubVersions(db, filter.archives);
  }

  /** The edited rows that have been deleted; null if that is not needed for the filter. */
  gone(filter: Filter): Gone | null {
    // Rows that retention archived are read from the archive.
    if (!hidesVersions(filter) || filter.archives || filter.source === 'postern') return null;
    if (this.options.isHub === true || !this.state.exists()) return null;
    const revised = this.readState(revisedRows);
    if (revised === null) return null;
    return this.postern.read((db) => {
      const { byId, columns, isView } = this.tables.postern.inspect(db);
      // A view has no lookup by id: thousands of ids would scan it again and again.
      return isView ? null : goneOf(db, byId, columns.id, revised);
    });
  }

  /**
   * The archives, or null if the filter excludes them or none are configured. Reads again what state.db records of them.
   *
   * @throws AuditdError `SOURCE_UNUSABLE` if state.db can't be read
   */
  archives({ archives, allowMissing }: Pick<Filter, 'archives' | 'allowMissing'>): ArchiveIndex | null {
    const { chain } = this;
    if (!archives || chain === null) return null;
    return new ArchiveIndex({ chain, recorded: () => this.readRecorded(), allowMissing });
  }

  /** What state.db records of archives; nothing if it does not exist. */
  private readRecorded(): RecordedArchives {
    if (!this.state.exists()) return NOTHING_RECORDED;
    try {
      return this.state.read((db) => this.recorded.read(db));
    } catch (error) {
      if (!(error instanceof AuditdError) || error.code !== 'SOURCE_UNUSABLE') throw error;
      const what = 'so the archives that should exist are not known';
      const next = 'To read the table alone, leave the archives out: --no-archives, archives=false';
      throw new AuditdError('SOURCE_UNUSABLE', `${error.what}; ${what}`, { next, cause: error });
    }
  }

  close(): void {
    this.postern.close();
    this.state.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The column names with which the daemon read the table. If one is gone, entries would differ from the events delivered. */
  private columnsRead(): ColumnsRead {
    return parseColumnsRead(this.note(columnsNote('postern')));
  }

  private readState<T>(work: (db: Database) => T): T {
    try {
      return this.state.read(work);
    } catch (error) {
      if (!(error instanceof AuditdError) || error.code !== 'SOURCE_UNUSABLE') throw error;
      const others = "leave the daemon's own events out: source postern";
      const next = error.next === null ? capitalized(others) : `${error.next}, or ${others}`;
      throw new AuditdError('SOURCE_UNUSABLE', error.what, { next, cause: error });
    }
  }

  private readers(): { postern: RowReader; auditd: RowReader } {
    const { server, redact, trustedProxies = [], timeZone = 'UTC' } = this.options;
    const masked = createRedactor(redact.mode === 'hmac' ? this.withKey() : { ...redact });
    const shared = { sourceId: '', server, classify: this.classify, redact: masked, trustedProxies };
    return {
      postern: new RowReader({
        ...shared,
        ...this.quarantined('postern'),
        name: 'postern',
        timeZone,
        revisions: this.options.isHub === true,
      }),
      auditd: new RowReader({ ...shared, ...this.quarantined('auditd'), name: 'auditd' }),
    };
  }

  /** Rows at which the daemon crashed would crash it again when a query reads them. */
  private quarantined(source: SourceName): { readonly quarantined?: ReadonlySet<string> } {
    const found = quarantinedIn(this.note(QUARANTINED_PLACES), source);
    return found.size === 0 ? {} : { quarantined: found };
  }

  /** A note of state.db; null if it does not exist or can't be read. The query of its rows reports why it can't. */
  private note(key: string): string | null {
    if (!this.state.exists()) return null;
    try {
      return this.state.read((db) => readNote(db, key));
    } catch {
      return null;
    }
  }

  /** The redaction options with the daemon's HMAC key. Without the key, secrets are masked. */
  private withKey(): RedactionOptions {
    const { keys } = this.options.redact;
    if (!this.state.exists()) return { keys, mode: 'mask' };
    const hmacKey = this.readState(readHmacKey);
    return hmacKey === null ? { keys, mode: 'mask' } : { keys, mode: 'hmac', hmacKey };
  }
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
