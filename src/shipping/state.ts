import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { SourceName } from '../audit/event.js';
import { AuditdError, messageOf } from '../errors.js';
import type Database from '../load-sqlite.js';
import { createAuditTable } from '../recorder/recorder.js';
import { columnsNote, parseColumnsRead } from '../source/columns-seen.js';
import type { HighWaterMark, History } from '../source/source.js';
import { VERSION } from '../version.js';
import { AccountedRows } from './accounted-rows.js';
import { openOwn } from './as-owner.js';
import { Cursors } from './cursors.js';
import { Fingerprints, type Pending } from './fingerprints.js';
import { RecentRows } from './recent-rows.js';
import { Revisions } from './revisions.js';
import { readNote } from './state-queries.js';
import { PROGRAM_NOTE, requireKnownVersion } from './state-version.js';
import { Timelines } from './timelines.js';

/** What each version adds to the one before it; index 0 makes version 1. Never edited, only appended to. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE timeline (
     source TEXT NOT NULL, timeline INTEGER NOT NULL, mark_id INTEGER NOT NULL, mark_fingerprint TEXT,
     started_at INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (source, timeline)) WITHOUT ROWID;
   CREATE TABLE fingerprint (
     source TEXT NOT NULL, timeline INTEGER NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
     ids BLOB, prints BLOB NOT NULL, PRIMARY KEY (source, timeline, first_id));
   CREATE TABLE cursor (
     sink TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, up_to INTEGER NOT NULL,
     PRIMARY KEY (sink, source, timeline)) WITHOUT ROWID;
   CREATE TABLE start (
     sink TEXT NOT NULL, source TEXT NOT NULL, timeline INTEGER NOT NULL, skip_to INTEGER NOT NULL,
     PRIMARY KEY (sink, source)) WITHOUT ROWID;
   CREATE TABLE sink (name TEXT PRIMARY KEY, saved TEXT, first_start INTEGER NOT NULL) WITHOUT ROWID;`,
  `CREATE TABLE IF NOT EXISTS token (
     id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, hash BLOB NOT NULL,
     created_at INTEGER NOT NULL, expires_at INTEGER, last_used_at INTEGER) WITHOUT ROWID;`,
  // The table is made here for a state that is new, as it was until then; its indexes come with createAuditTable. Further columns stand
  // behind those that are read and hashed, so no id changes by them.
  `CREATE TABLE IF NOT EXISTS audit_log (
     id INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT NOT NULL DEFAULT (datetime('now')), user_id INTEGER, user_name TEXT,
     user_email TEXT, action TEXT NOT NULL, resource_type TEXT, resource_id TEXT, details TEXT, ip_address TEXT, server TEXT);
   ALTER TABLE audit_log ADD COLUMN revision_of INTEGER;
   ALTER TABLE audit_log ADD COLUMN revised_action TEXT;
   CREATE INDEX audit_log_revision_of ON audit_log (revision_of) WHERE revision_of IS NOT NULL;`,
  // Columns of rows have no type: what Postern's table holds comes back as it was.
  `CREATE TABLE recent (
     source TEXT NOT NULL, timeline INTEGER NOT NULL, id INTEGER NOT NULL, created_at, address TEXT, action TEXT NOT NULL,
     fingerprint TEXT NOT NULL, read_at INTEGER NOT NULL, revised_at INTEGER NOT NULL,
     PRIMARY KEY (source, timeline, id)) WITHOUT ROWID;
   CREATE TABLE revision (
     own_id INTEGER PRIMARY KEY, source TEXT NOT NULL, timeline INTEGER NOT NULL, id INTEGER NOT NULL, fingerprint TEXT NOT NULL,
     not_for TEXT);
   CREATE INDEX revision_row ON revision (source, id);
   CREATE TABLE original (
     source TEXT NOT NULL, timeline INTEGER NOT NULL, id INTEGER NOT NULL, event_id TEXT NOT NULL, ingested INTEGER NOT NULL,
     created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server,
     PRIMARY KEY (source, timeline, id));`,
  `CREATE TABLE accounted (
     source TEXT NOT NULL, timeline INTEGER NOT NULL, piece INTEGER NOT NULL, bits BLOB NOT NULL,
     PRIMARY KEY (source, timeline, piece)) WITHOUT ROWID;
   INSERT INTO meta (key, value) SELECT 'accounted_unknown', 'postern auditd' FROM meta WHERE key = 'retention_purged';`,
  `CREATE TABLE IF NOT EXISTS raised_alert (
     own_id INTEGER PRIMARY KEY, action TEXT NOT NULL, cause TEXT NOT NULL, users TEXT NOT NULL, row_id INTEGER NOT NULL,
     time INTEGER NOT NULL);
   CREATE TABLE IF NOT EXISTS known_network (
     user TEXT NOT NULL, network TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (user, network)) WITHOUT ROWID;`,
];

/** What is written in each transaction, together with the marks and fingerprints of the rows that it follows from. */
export interface TransactionMember {
  /** Inside the transaction. An error undoes all of it. */
  write(): void;
  /** The transaction is committed. */
  committed(): void;
}

/** Of pages in memory. Fingerprints are appended, so SQLite's 16 MB would fill up with pages that are not read again. */
const CACHE_KIB = 2_048;

export const STATE_VERSION = MIGRATIONS.length;

/**
 * `state.db`: cursors, fingerprints, timelines, the sinks' notes and the daemon's own audit table.
 *
 * Only the process that holds the lock opens it for writing. WAL with `synchronous = NORMAL`: a transaction is
 * safe over the death of the process; over power loss the last ones may be gone, which the sinks' own
 * recovery (sink.ts, Resume) makes good.
 */
export class State {
  readonly db: Database;
  readonly path: string;
  /** True if this start made the database: nothing is known of what was shipped before. */
  readonly fresh: boolean;
  readonly cursors: Cursors;
  readonly fingerprints: Fingerprints;
  readonly timelines: Timelines;
  readonly recent: RecentRows;
  readonly revisions: Revisions;
  readonly accounted: AccountedRows;
  /** Null: none. */
  member: TransactionMember | null = null;

  /** @throws AuditdError `STATE_NEWER` or `STATE_UNUSABLE` */
  constructor(directory: string, clock: () => number = Date.now) {
    this.path = join(directory, 'state.db');
    this.fresh = !existsSync(this.path);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o750 });
      this.db = openOwn(directory, 'state.db', { timeout: 5_000 });
      if (this.fresh) chmodSync(this.path, 0o640);
      this.db.pragma('journal_mode = WAL');
      this.db.pragma('synchronous = NORMAL');
      this.db.pragma(`cache_size = -${CACHE_KIB}`);
      this.migrate();
      createAuditTable(this.db);
    } catch (error) {
      if (error instanceof AuditdError) throw error;
      throw new AuditdError('STATE_UNUSABLE', `${this.path} can't be used: ${messageOf(error)}`, {
        next: 'If it is damaged, move it away and start again: the cursors are then rebuilt from the log files',
        cause: error,
      });
    }
    this.cursors = new Cursors(this.db);
    this.fingerprints = new Fingerprints(this.db);
    this.timelines = new Timelines(this.db, clock);
    this.recent = new RecentRows(this.db);
    this.revisions = new Revisions(this.db);
    this.accounted = new AccountedRows(this.db);
  }

  /** Random, made once per state.db; a part of every `event.id`. 32 hex digits. */
  get sourceId(): string {
    return this.secret('source_id', 16);
  }

  /** The key with which secrets are masked in mode `hmac`. Never leaves this database. */
  get hmacKey(): Buffer {
    return Buffer.from(this.secret('hmac_key', 32), 'hex');
  }

  /** What was recorded of the rows of a source. */
  historyOf(source: SourceName): History {
    return {
      fingerprintOf: (timeline, id) =>
        this.revisions.newestOf(source, timeline, id) ?? this.fingerprints.of(source, timeline, id),
      recent: (timeline) => this.recent.of(source, timeline),
      columnsRead: () => parseColumnsRead(this.note(columnsNote(source))),
      recordColumns: (read) => this.setNote(columnsNote(source), JSON.stringify(read)),
    };
  }

  /** The mark of a source's current timeline, what is only remembered included; null before its first start. */
  mark(source: SourceName): HighWaterMark | null {
    const written = this.timelines.current(source);
    return written === null ? null : (this.fingerprints.unflushed(source, written.timeline) ?? written);
  }

  note(key: string): string | null {
    return readNote(this.db, key);
  }

  setNote(key: string, value: string): void {
    this.db
      .prepare(
        'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
      )
      .run(key, value);
  }

  /**
   * Runs `work` in one transaction that also writes the fingerprints in memory, and those that `work` records: the state never has a cursor
   * without them. A failure leaves everything as it was. Must not be nested.
   *
   * @param isLast rows of a backlog that would be written later are written now, too
   */
  transaction<T>(work: () => T, isLast = false): T {
    let remembered = this.fingerprints.take();
    const recent = this.recent.take(isLast);
    const write = (taken: readonly Pending[]) =>
      this.fingerprints.write(taken, (mark) => this.timelines.setMark(mark));
    try {
      const result = this.db.transaction(() => {
        write(remembered);
        this.recent.write(recent);
        this.member?.write();
        const done = work();
        const recorded = this.fingerprints.take();
        remembered = [...remembered, ...recorded];
        write(recorded);
        return done;
      })();
      this.member?.committed();
      this.fingerprints.release(remembered.map(({ run }) => run));
      return result;
    } catch (error) {
      this.fingerprints.putBack(remembered);
      this.recent.putBack(recent);
      throw error;
    }
  }

  /**
   * Runs `work` in one transaction that is on the medium when this returns: for what must be recorded before an action that can't be undone.
   * Must not be nested.
   */
  durably<T>(work: () => T): T {
    this.db.pragma('synchronous = FULL');
    try {
      return this.db.transaction(work)();
    } finally {
      this.db.pragma('synchronous = NORMAL');
    }
  }

  /**
   * Fingerprints of rows between two ids that this sink has delivered in timelines before this one, or gets as versions of edited rows;
   * null if there can be none (the usual case, which costs one look into a small table).
   */
  deliveredEarlier(
    sink: string,
    source: SourceName,
    timeline: number,
    first: number,
    last: number,
  ): ReadonlySet<string> | null {
    if (timeline === 1) return null;
    let had: Set<string> | null = null;
    for (const earlier of this.cursors.earlier(sink, source, timeline)) {
      if (earlier.upTo < first) continue;
      const prints: Set<string> = had ?? new Set();
      had = prints;
      this.fingerprints.each(source, earlier.timeline, first, Math.min(last, earlier.upTo), (_, print) =>
        prints.add(print),
      );
    }
    const versions = this.revisions.ofEarlier(
      sink,
      { source, timeline, first, last },
      (earlier) => this.cursors.position(sink, source, earlier) ?? 0,
    );
    if (versions === null) return had;
    return new Set([...(had ?? []), ...versions]);
  }

  close(): void {
    if (!this.db.open) return;
    this.transaction(() => undefined, true);
    this.db.close();
  }

  private secret(key: string, bytes: number): string {
    const known = this.note(key);
    if (known !== null) return known;
    const made = randomBytes(bytes).toString('hex');
    this.setNote(key, made);
    return made;
  }

  private migrate(): void {
    const version = requireKnownVersion(this.db, this.path, STATE_VERSION);
    for (let next = version; next < STATE_VERSION; next++) {
      if (version > 0) this.copyTo(`${this.path}.v${next}`);
      this.db.transaction(() => {
        this.db.exec(MIGRATIONS[next] ?? '');
        this.db.pragma(`user_version = ${next + 1}`);
      })();
    }
    if (this.note(PROGRAM_NOTE) !== VERSION) this.setNote(PROGRAM_NOTE, VERSION);
  }
  /**
   * By SQLite itself: whoever opens and closes the file while this process is connected to it drops the connection's locks (fcntl(2)).
   * The next program that looks then takes itself for the last one, deletes the WAL, and commits go into a file that has no name.
   */
  private copyTo(path: string): void {
    rmSync(path, { force: true });
    closeSync(openSync(path, 'wx', 0o640)); // the key is in it: closed to others from its first byte on
    this.db.prepare('VACUUM INTO ?').run(path);
  }
}
