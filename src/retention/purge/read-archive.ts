import { accessSync, closeSync, constants } from 'node:fs';
import type { PublicSource } from '../../audit/event.js';
import { AuditdError, messageOf } from '../../errors.js';
import { allowReading } from '../../next-steps.js';
import { lower, type TableConfig } from '../../source/table-schema.js';
import { archiveBroken, isManifestName } from '../archive/archive-files.js';
import { offsetsOf, readBlock, splitLines } from '../archive/compressed-blocks.js';
import { compressorOf } from '../archive/compression.js';
import { openAsWritten } from '../archive/files.js';
import type { Manifest } from '../archive/manifest.js';
import { readManifest } from '../archive/manifest-chain.js';
import { type ArchivedRow, LineCodec } from '../archive/row-codec.js';
import type { Piece } from './protocol.js';

export interface ArchiveReaderOptions {
  readonly directory: string;
  /** The table that the archives must belong to. */
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
 * Reads the rows of archives for the purge, which deletes them from the table.
 *
 * The purge may run as root, and another user may write to the directory. So it opens only regular files directly in the directory, with
 * valid archive names. It accepts a manifest only if it is the requested one, to the last byte, and a file only if its hash is the one in
 * the manifest. It rejects sizes that no archive can have.
 */
export class ArchiveReader {
  private open: Open | null = null;

  constructor(private readonly options: ArchiveReaderOptions) {}

  /** Checks that archives can be read at all. @throws AuditdError `ARCHIVE_FAILED` */
  check(): void {
    const { directory } = this.options;
    try {
      accessSync(directory, constants.R_OK | constants.X_OK);
    } catch (error) {
      throw unreadableArchive(directory, error);
    }
  }

  /** The rows of one block, in ascending order. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  read(piece: Piece): ArchivedRow[] {
    const { manifest, offsets, codec, fd } = this.archive(piece);
    const { directory } = this.options;
    const [block, offset] = [manifest.blocks[piece.block], offsets[piece.block]];
    if (block === undefined || offset === undefined)
      throw archiveBroken(directory, piece.archive, `it has no block ${piece.block}`);
    let rows: ArchivedRow[];
    try {
      const lines = splitLines(readBlock(fd, offset, block, compressorOf(manifest.compression)));
      rows = lines.map((line) => codec.decode(line));
    } catch (error) {
      if (error instanceof AuditdError) throw error;
      throw archiveBroken(directory, manifest.file, `block ${piece.block} is not what its manifest says`);
    }
    if (rows.length !== block[2] || rows.some(({ id }, at) => at > 0 && id <= (rows[at - 1]?.id ?? id)))
      throw archiveBroken(
        directory,
        manifest.file,
        `block ${piece.block} does not have the rows of its manifest`,
      );
    return rows;
  }

  manifestOf(piece: Piece): Manifest {
    return this.archive(piece).manifest;
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
    const fd = openAsWritten(directory, manifest, unreadableArchive);
    const codec = new LineCodec(manifest.columns.map(({ name }) => name));
    const offsets = offsetsOf(manifest.blocks);
    this.open = { piece: { archive, sha256 }, manifest, offsets, codec, fd };
    return this.open;
  }

  private manifest(name: string, sha256: string): Manifest {
    const { directory, source, table } = this.options;
    if (!isManifestName(name))
      throw archiveBroken(directory, 'a manifest', 'it has no name that a manifest has');
    const { manifest } = readManifest(directory, name, null, unreadableArchive);
    const wrong = (what: string) => archiveBroken(directory, name, what);
    if (manifest.sha256 !== sha256) throw wrong('it is not the one that was written for these rows');
    const isOurs =
      manifest.source === source &&
      lower(manifest.table) === lower(table.table) &&
      lower(manifest.id_column) === lower(table.columns.id);
    if (!isOurs) throw wrong(`it is of another table than ${table.table}`);
    return manifest;
  }
}

export function unreadableArchive(path: string, error: unknown): AuditdError {
  const next = `See that it is there, and ${allowReading(path, 'lets the purge read it')}`;
  const what = `${path} can't be read by the purge: ${messageOf(error)}`;
  return new AuditdError('ARCHIVE_FAILED', what, { next, cause: error });
}
