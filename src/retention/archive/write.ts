import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as otherWork } from 'node:timers/promises';
import { AuditdError } from '../../errors.js';
import {
  archiveFailed,
  contentsOf,
  createFile,
  fsyncDirectory,
  makeDirectory,
  manifestName,
  prepareFile,
  sequenceOf,
  stemOf,
  TEMPORARY,
  writeAll,
} from './archive-files.js';
import { BLOCK_BYTES, readBlock, splitLines } from './compressed-blocks.js';
import { type Compression, type Compressor, compressorOf } from './compression.js';
import {
  type ArchivedColumn,
  type Block,
  HOLDS_VERSION,
  type Manifest,
  SCHEMA_VERSION,
  type SinceDelivery,
  seal,
} from './manifest.js';
import { type ChainHead, chainHeadOf } from './manifest-chain.js';
import { type ArchivedRow, LineCodec } from './row-codec.js';

export interface ArchiveOptions {
  readonly directory: string;
  readonly source: 'postern' | 'auditd';
  readonly sourceId: string;
  readonly timeline: number;
  /** `TableRows.shape` */
  readonly table: ArchivedTable;
  /** The `monthOf` of each row. */
  readonly month: string;
  /** A name of the run, shown to people. */
  readonly run: string;
  readonly compression: Compression;
  /** An ed25519 private key; null: not signed. */
  readonly sign: KeyObject | null;
  /** The newest removed archive by the records; omitted if none was removed. */
  readonly begin?: ChainHead;
  /** SHA-256 of the file of the newest record of legal holds; null or omitted if there is none. */
  readonly holds?: string | null;
  readonly clock: () => number;
}

export interface ArchivedTable {
  readonly name: string;
  readonly idColumn: string;
  readonly columns: readonly ArchivedColumn[];
  /** Null: UTC. */
  readonly timeZone: string | null;
}

/**
 * Writes one archive. Until `finish` is done there is only a file that ends in `.tmp`. Several may be open at once; they join the chain in
 * the order in which they are finished.
 */
export interface ArchiveWriter {
  readonly count: number;
  /** Adds rows, in ascending order of ids. @throws AuditdError `ARCHIVE_FAILED`, for example on a full disk: then `abort` */
  add(row: ArchivedRow): void;
  /**
   * Makes the file durable, reads it back and compares each row with the current table, and gives file and
   * manifest their names. When it resolves, the archive is durable, and its rows may be deleted. A failure leaves
   * nothing behind.
   *
   * @param again reads rows from the table again; deleted rows are omitted
   * @param since the changes to the rows since delivery; omitted: not checked
   * @throws AuditdError `ARCHIVE_FAILED` if a row differs from the archived one, or the disk fails
   */
  finish(again: (ids: readonly number[]) => readonly ArchivedRow[], since?: SinceDelivery): Promise<Manifest>;
  abort(): void;
}

/** Rows compared with the table at a time. */
const COMPARED = 500;

/** @throws AuditdError `CONFIG_INVALID` if this Node.js lacks the compression, `ARCHIVE_FAILED` */
export function createArchive(options: ArchiveOptions): ArchiveWriter {
  return new Writer(options, compressorOf(options.compression));
}

/** The month of a row, in UTC: `2026-11`; `undated` if its time is null or outside the calendar. */
export function monthOf(time: number | null): string {
  const date = new Date(time ?? Number.NaN);
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9_999 ? date.toISOString().slice(0, 7) : 'undated';
}

class Writer implements ArchiveWriter {
  count = 0;
  private readonly codec: LineCodec;
  private readonly path: string;
  private fd: number;
  private lines: string[] = [];
  private waiting = 0;
  private readonly blocks: Block[] = [];
  private first = 0;
  private last = Number.NEGATIVE_INFINITY;
  private blockFirst = 0;
  private times: Times = NO_TIMES;
  private blockTimes: Times = NO_TIMES;
  private readonly fileHash = createHash('sha256');
  private readonly contentHash = createHash('sha256');

  constructor(
    private readonly options: ArchiveOptions,
    private readonly compressor: Compressor,
  ) {
    const { directory, source, month, table } = options;
    this.codec = new LineCodec(table.columns.map(({ name }) => name));
    makeDirectory(directory);
    const unique = randomBytes(6).toString('hex');
    this.path = join(directory, `${source}-${month}-${unique}${compressor.extension}${TEMPORARY}`);
    try {
      this.fd = createFile(this.path);
    } catch (error) {
      throw archiveFailed(`${this.path} can't be created`, error);
    }
  }

  add(row: ArchivedRow): void {
    if (row.id <= this.last || monthOf(row.time) !== this.options.month) {
      throw new TypeError(`row ${row.id} does not belong behind row ${this.last} of ${this.options.month}`);
    }
    const line = `${this.codec.encode(row)}\n`;
    if (this.count === 0) this.first = row.id;
    if (this.lines.length === 0) this.blockFirst = row.id;
    this.last = row.id;
    this.times = including(this.times, row.time);
    this.blockTimes = including(this.blockTimes, row.time);
    this.count++;
    this.lines.push(line);
    this.waiting += line.length;
    if (this.waiting >= BLOCK_BYTES) this.flush();
  }

  async finish(
    again: (ids: readonly number[]) => readonly ArchivedRow[],
    since?: SinceDelivery,
  ): Promise<Manifest> {
    try {
      if (this.count === 0) throw new TypeError('an archive without rows');
      this.flush();
      this.onDisk(() => fsyncSync(this.fd));
      this.close();
      await this.compare(again);
      return this.onDisk(() => this.place(since));
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  abort(): void {
    this.close();
    rmSync(this.path, { force: true });
  }

  private flush(): void {
    if (this.lines.length === 0) return;
    const content = Buffer.from(this.lines.join(''));
    const packed = this.compressor.compress(content);
    this.onDisk(() => writeAll(this.fd, packed));
    this.contentHash.update(content);
    this.fileHash.update(packed);
    const { first, last } = this.blockTimes;
    const rows = this.lines.length;
    this.blocks.push([packed.length, content.length, rows, this.blockFirst, this.last, first, last]);
    this.lines = [];
    this.waiting = 0;
    this.blockTimes = NO_TIMES;
  }

  /** Checks that a later reader gets the same rows as the table has. */
  private async compare(again: (ids: readonly number[]) => readonly ArchivedRow[]): Promise<void> {
    const fd = this.onDisk(() => openSync(this.path, 'r'));
    try {
      let offset = 0;
      for (const block of this.blocks) {
        const lines = splitLines(this.onDisk(() => readBlock(fd, offset, block, this.compressor)));
        offset += block[0];
        for (let at = 0; at < lines.length; at += COMPARED) {
          this.compareSome(lines.slice(at, at + COMPARED), again);
          await otherWork();
        }
      }
    } finally {
      closeSync(fd);
    }
  }

  private compareSome(
    lines: readonly string[],
    again: (ids: readonly number[]) => readonly ArchivedRow[],
  ): void {
    const ids = lines.map((line) => this.codec.decode(line).id);
    const rows = new Map(again(ids).map((row) => [row.id, row]));
    for (const [at, id] of ids.entries()) {
      const row = rows.get(id);
      if (row !== undefined && this.codec.encode(row) === lines[at]) continue;
      const what = row === undefined ? 'is no longer in the table' : 'has changed since it was archived';
      throw new AuditdError(
        'ARCHIVE_FAILED',
        `Row ${id} ${what}, so nothing of ${this.options.month} was archived or deleted; the next run tries again`,
      );
    }
  }

  /** The single step that creates the archive: its content is already durable. */
  private place(since: SinceDelivery | undefined): Manifest {
    const { directory, source, timeline, month } = this.options;
    const contents = contentsOf(directory);
    const head = chainHeadOf(directory, this.options.begin, contents);
    const sequence = head.sequence + 1;
    const taken = [...contents.files].find((name) => (sequenceOf(name) ?? 0) >= sequence);
    if (taken !== undefined) {
      throw new AuditdError(
        'ARCHIVE_BROKEN',
        `${join(directory, taken)} has no manifest, so no archive can follow it`,
        { next: 'Put its manifest back from a backup, or move it away' },
      );
    }
    const stem = stemOf(sequence, source, timeline, month);
    const file = `${stem}${this.compressor.extension}`;
    const { value, text } = seal<Manifest>(this.body(sequence, file, head.sha256, since), this.options.sign);
    const name = manifestName(stem);
    // The manifest is durable before the file has its name: after a crash, a repair can finish the archive (repair.ts).
    prepareFile(directory, name, text);
    renameSync(this.path, join(directory, file));
    fsyncDirectory(directory);
    renameSync(join(directory, `${name}${TEMPORARY}`), join(directory, name));
    fsyncDirectory(directory);
    return value;
  }

  private body(
    sequence: number,
    file: string,
    previous: string | null,
    since: SinceDelivery | undefined,
  ): Omit<Manifest, 'signature' | 'sha256'> {
    const { source, sourceId, timeline, table, month, run, compression, clock } = this.options;
    const { first, last } = this.times;
    const holds = this.options.holds ?? null;
    return {
      schema_version: holds === null ? SCHEMA_VERSION : HOLDS_VERSION,
      sequence,
      file,
      compression,
      source,
      source_id: sourceId,
      timeline,
      table: table.name,
      columns: table.columns.map(({ name, type }) => ({ name, type })),
      id_column: table.idColumn,
      month,
      run,
      ids: { first: this.first, last: this.last },
      count: this.count,
      time: first === null || last === null ? null : { first: iso(first), last: iso(last) },
      ...(table.timeZone === null ? {} : { time_zone: table.timeZone }),
      ...(since === undefined ? {} : { since_delivery: since }),
      bytes: this.blocks.reduce((sum, [length]) => sum + length, 0),
      content_bytes: this.blocks.reduce((sum, [, length]) => sum + length, 0),
      file_sha256: this.fileHash.copy().digest('hex'),
      content_sha256: this.contentHash.copy().digest('hex'),
      blocks: this.blocks,
      previous_sha256: previous,
      created: iso(clock()),
      ...(holds === null ? {} : { holds_sha256: holds }),
    };
  }

  private onDisk<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw archiveFailed(
        `The archive of ${this.options.month} can't be written to ${this.options.directory}`,
        error,
      );
    }
  }

  private close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}

interface Times {
  readonly first: number | null;
  readonly last: number | null;
}

const NO_TIMES: Times = { first: null, last: null };

function including({ first, last }: Times, time: number | null): Times {
  if (time === null) return { first, last };
  return {
    first: first === null ? time : Math.min(first, time),
    last: last === null ? time : Math.max(last, time),
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
