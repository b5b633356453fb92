import { createHash } from 'node:crypto';
import { accessSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { PublicSource } from '../../audit/event.js';
import { AuditdError, codeOf, messageOf } from '../../errors.js';
import { lower, type TableConfig } from '../../source/columns.js';
import { linesOf, offsetsOf, readBlock } from '../archive/blocks.js';
import { broken } from '../archive/chain.js';
import { compressorOf } from '../archive/compression.js';
import { isManifestName, sequenceOf, trouble } from '../archive/directory.js';
import { type Block, type Manifest, Unsealed, unseal } from '../archive/manifest.js';
import { type ArchivedRow, LineCodec } from '../archive/row.js';
import type { Piece } from './protocol.js';

/** No manifest of ours is larger: one of 100 million rows has some 10 MB. */
const LARGEST_MANIFEST = 64 * 1024 * 1024;
/** No block of ours is longer: a block ends with the row that brings it above 256 KiB, and a longer line is no string to V8. */
const LONGEST_BLOCK = 0x1fff_ffff;
/** What a compression may add to what it can't make smaller. */
const OVERHEAD = 64 * 1024;
const READ_AT_ONCE = 1024 * 1024;

export interface ArchiveReaderOptions {
  readonly directory: string;
  /** What the archives have to be of. */
  readonly source: PublicSource;
  readonly table: TableConfig;
}

interface Open {
  readonly piece: Pick<Piece, 'archive' | 'sha256'>;
  readonly manifest: Manifest;
  readonly offsets: readonly number[];
  readonly codec: LineCodec;
  readonly fd: number;
}

/**
 * The rows of archives as the purge reads them, in order to delete them from the table.
 *
 * It may run as root, and the directory is another user's to write: only regular files directly below the directory are opened, by
 * the names that archives have; a manifest counts if it is the one that is asked for, to the last byte; the file, if it is the one
 * whose hash stands there; and no size is believed that no archive has.
 */
export class ArchiveReader {
  private open: Open | null = null;

  constructor(private readonly options: ArchiveReaderOptions) {}

  /** Whether archives can be read at all. @throws AuditdError `ARCHIVE_FAILED` */
  check(): void {
    const { directory } = this.options;
    try {
      accessSync(directory, constants.R_OK | constants.X_OK);
    } catch (error) {
      throw unreadable(directory, error);
    }
  }

  /** The rows of one block, ascending. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  read(piece: Piece): ArchivedRow[] {
    const { manifest, offsets, codec, fd } = this.archive(piece);
    const { directory } = this.options;
    const [block, offset] = [manifest.blocks[piece.block], offsets[piece.block]];
    if (block === undefined || offset === undefined)
      throw broken(directory, piece.archive, `it has no block ${piece.block}`);
    let rows: ArchivedRow[];
    try {
      const lines = linesOf(readBlock(fd, offset, block, compressorOf(manifest.compression)));
      rows = lines.map((line) => codec.decode(line));
    } catch (error) {
      if (error instanceof AuditdError) throw error;
      throw broken(directory, manifest.file, `block ${piece.block} is not what its manifest says`);
    }
    if (rows.length !== block[2] || rows.some(({ id }, at) => at > 0 && id <= (rows[at - 1]?.id ?? id)))
      throw broken(directory, manifest.file, `block ${piece.block} has not the rows that its manifest says`);
    return rows;
  }

  close(): void {
    if (this.open !== null) closeSync(this.open.fd);
    this.open = null;
  }

  private archive({ archive, sha256 }: Piece): Open {
    if (this.open?.piece.archive === archive && this.open.piece.sha256 === sha256) return this.open;
    this.close();
    const { directory } = this.options;
    const manifest = this.manifest(archive, sha256);
    const fd = openFile(directory, manifest.file);
    try {
      if (fstatSync(fd).size !== manifest.bytes || hashOf(fd, manifest.bytes) !== manifest.file_sha256)
        throw broken(directory, manifest.file, 'its bytes were changed');
      const codec = new LineCodec(manifest.columns.map(({ name }) => name));
      const offsets = offsetsOf(manifest.blocks);
      this.open = { piece: { archive, sha256 }, manifest, offsets, codec, fd };
      return this.open;
    } catch (error) {
      closeSync(fd);
      throw error instanceof AuditdError
        ? error
        : trouble(`${join(directory, manifest.file)} can't be read`, error);
    }
  }

  private manifest(name: string, sha256: string): Manifest {
    const { directory, source, table } = this.options;
    if (!isManifestName(name)) throw broken(directory, 'a manifest', 'it has no name that a manifest has');
    let manifest: Manifest;
    try {
      manifest = unseal<Manifest>(readManifestBytes(directory, name), null);
    } catch (error) {
      if (error instanceof Unsealed) throw broken(directory, name, error.message);
      throw error;
    }
    const wrong = (what: string) => broken(directory, name, what);
    if (manifest.sha256 !== sha256) throw wrong('it is not the one that was written for these rows');
    if (!isShaped(manifest)) throw wrong('it says what no manifest says');
    if (manifest.sequence !== sequenceOf(name) || manifest.sequence !== sequenceOf(manifest.file))
      throw wrong('it is the manifest of another archive');
    const isOurs =
      manifest.source === source &&
      lower(manifest.table) === lower(table.table) &&
      lower(manifest.id_column) === lower(table.columns.id);
    if (!isOurs) throw wrong(`it is of another table than ${table.table}`);
    return manifest;
  }
}

/** What JSON can't promise of it; its text is as it was written. */
function isShaped({ columns, blocks, file, bytes, count, compression }: Manifest): boolean {
  const sum = (at: 0 | 2) => blocks.reduce((all, block) => all + block[at], 0);
  return (
    typeof file === 'string' &&
    ['gzip', 'zstd', 'none'].includes(compression) &&
    Array.isArray(columns) &&
    columns.every((column) => typeof column?.name === 'string') &&
    Array.isArray(blocks) &&
    blocks.every(isBlock) &&
    sum(0) === bytes &&
    sum(2) === count
  );
}

function isBlock(block: Block): boolean {
  if (!Array.isArray(block)) return false;
  const [length, content, rows] = block as unknown[];
  const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0;
  return (
    isSize(length) &&
    isSize(content) &&
    isSize(rows) &&
    content <= LONGEST_BLOCK &&
    length <= 2 * content + OVERHEAD
  );
}

function readManifestBytes(directory: string, name: string): Buffer {
  const fd = openFile(directory, name);
  try {
    const { size } = fstatSync(fd);
    if (size > LARGEST_MANIFEST) throw broken(directory, name, 'it is larger than any manifest');
    const bytes = Buffer.alloc(size);
    let at = 0;
    for (let read = -1; read !== 0 && at < size; at += read) read = readSync(fd, bytes, at, size - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}

/** No link is followed, nothing is waited for, and nothing but a file is read. */
function openFile(directory: string, name: string): number {
  const path = join(directory, name);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ELOOP') throw broken(directory, name, 'it is a link');
    throw unreadable(path, error);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw broken(directory, name, 'it is no file');
}

function unreadable(path: string, error: unknown): AuditdError {
  const next = 'Run install.sh --reconfigure, which lets it, and see that it is there';
  const what = `${path} can't be read by the purge: ${messageOf(error)}`;
  return new AuditdError('ARCHIVE_FAILED', `${what}. ${next}`, { cause: error });
}

function hashOf(fd: number, bytes: number): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_AT_ONCE);
  for (let at = 0; at < bytes; ) {
    const read = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (read === 0) break;
    hash.update(buffer.subarray(0, read));
    at += read;
  }
  return hash.digest('hex');
}
