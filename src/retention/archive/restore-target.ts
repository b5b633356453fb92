import type { Database, Statement } from 'better-sqlite3';
import { AuditdError } from '../../errors.js';
import type { SqlValue } from '../../source/event-id.js';
import { lower, quoteIdentifier } from '../../source/table-schema.js';
import type { ArchivedColumn, Manifest } from './manifest.js';
import { type ArchivedRow, type ArchivedValue, type LineCodec, setColumn, TextBytes } from './row-codec.js';

/** A declared type that may be used in SQL unchanged. */
const PLAIN_TYPE = /^[\w ]*(?:\([\d, +-]*\))?$/;

/** A table into which archived rows are restored, in the caller's transaction. */
export class RestoredTable {
  private readonly names: readonly string[];
  private readonly select: Statement;
  private readonly bytes: Statement;
  private readonly inserts = new Map<string, Statement>();

  /**
   * Creates the table if it is missing, with its columns and their types only.
   *
   * @param archives all archives to restore: a column that was added later is only in some of them
   * @throws AuditdError `ARCHIVE_FAILED` if the table exists and lacks a column
   */
  constructor(
    private readonly db: Database,
    private readonly table: string,
    private readonly manifest: Manifest,
    private readonly codec: LineCodec,
    archives: readonly Manifest[],
  ) {
    this.names = manifest.columns.map(({ name }) => name);
    const there = db.prepare('SELECT name FROM pragma_table_xinfo(?)').pluck().all(table) as string[];
    if (there.length === 0) this.create(columnsOf(archives));
    else this.requireColumns(there);
    const by = `FROM ${quoteIdentifier(table)} NOT INDEXED WHERE ${quoteIdentifier(manifest.id_column)} = ?`;
    const columns = this.names.map((name) => quoteIdentifier(name));
    this.select = db
      .prepare(`SELECT ${columns.join(', ')} ${by}`)
      .raw()
      .safeIntegers();
    this.bytes = db
      .prepare(`SELECT ${columns.map((name) => `CAST(${name} AS BLOB)`).join(', ')} ${by}`)
      .raw();
  }

  /** False if the row already exists. @throws AuditdError `ARCHIVE_FAILED` if a different row has its id */
  restoreRow(line: string): boolean {
    const row = this.codec.decode(line);
    const before = this.lineAt(row);
    if (before === line) return false;
    if (before !== null) {
      throw new AuditdError(
        'ARCHIVE_FAILED',
        `Row ${row.id} of ${this.table} is not the one of ${this.manifest.file}; nothing was restored`,
        { next: 'Restore into a new database, or only archives of one --timeline, or by their numbers' },
      );
    }
    this.insert(row);
    if (this.lineAt(row) === line) return true;
    throw new AuditdError(
      'ARCHIVE_FAILED',
      `Row ${row.id} of ${this.manifest.file} would be changed by table ${this.table}; nothing was restored`,
      { next: 'Restore into a new database' },
    );
  }

  private create(columns: readonly ArchivedColumn[]): void {
    const id = lower(this.manifest.id_column);
    const parts = columns.map(({ name, type }) =>
      lower(name) === id
        ? `${quoteIdentifier(name)} INTEGER PRIMARY KEY AUTOINCREMENT`
        : `${quoteIdentifier(name)} ${PLAIN_TYPE.test(type) ? type : ''}`,
    );
    this.db.exec(`CREATE TABLE ${quoteIdentifier(this.table)} (${parts.join(', ')})`);
  }

  private requireColumns(there: readonly string[]): void {
    const known = new Set(there.map(lower));
    const missing = this.names.find((name) => !known.has(lower(name)));
    if (missing === undefined) return;
    throw new AuditdError(
      'ARCHIVE_FAILED',
      `Table ${this.table} has no column ${missing}, which ${this.manifest.file} has`,
      { next: 'Restore into a new database, or into another table with --table' },
    );
  }

  private insert({ columns }: ArchivedRow): void {
    const values = this.names.map((name) => columns[name] ?? null);
    const marks = values.map((value) =>
      value instanceof TextBytes ? 'CAST(? AS TEXT)' : typeof value === 'number' ? 'CAST(? AS REAL)' : '?',
    );
    const key = marks.join(', ');
    let statement = this.inserts.get(key);
    if (statement === undefined) {
      const names = this.names.map((name) => quoteIdentifier(name)).join(', ');
      statement = this.db.prepare(`INSERT INTO ${quoteIdentifier(this.table)} (${names}) VALUES (${key})`);
      this.inserts.set(key, statement);
    }
    statement.run(values.map((value) => (value instanceof TextBytes ? value.bytes : value)));
  }

  /** The row with this id as an archive line, or null. */
  private lineAt({ id, eventId, time }: ArchivedRow): string | null {
    const found = this.select.get(id) as readonly SqlValue[] | undefined;
    if (found === undefined) return null;
    const inexact = found.some((value) => typeof value === 'string' && value.includes('\uFFFD'));
    const bytes = inexact ? (this.bytes.get(id) as ReadonlyArray<Buffer | null>) : [];
    const columns: Record<string, ArchivedValue> = {};
    for (const [at, name] of this.names.entries()) {
      const value = found[at] ?? null;
      const raw = bytes[at];
      const isText = typeof value === 'string' && raw !== null && raw !== undefined;
      setColumn(columns, name, isText && !raw.equals(Buffer.from(value)) ? new TextBytes(raw) : value);
    }
    return this.codec.encode({ id, eventId, time, columns });
  }
}

/** The distinct columns of all these archives, in order of appearance; without a type if the archives differ in it. */
function columnsOf(archives: readonly Manifest[]): ArchivedColumn[] {
  const columns = new Map<string, ArchivedColumn>();
  for (const { name, type: declared } of archives.flatMap((manifest) => manifest.columns)) {
    // In a STRICT table ANY stores each value unchanged; in other tables it means NUMERIC, which converts text.
    const type = declared.toUpperCase() === 'ANY' ? '' : declared;
    const known = columns.get(lower(name)) ?? { name, type };
    columns.set(lower(name), { name: known.name, type: known.type === type ? type : '' });
  }
  return [...columns.values()];
}
