import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { AuditdError, messageOf } from '../../errors.js';
import { linesOf, readBlock } from './blocks.js';
import { type Head, readAnchor, readManifest } from './chain.js';
import { compressorOf } from './compression.js';
import { ANCHOR, broken, type Contents, contentsOf, sequenceOf, stemOf, TEMPORARY } from './directory.js';
import { openAsWritten } from './files.js';
import type { Manifest } from './manifest.js';
import { LineCodec } from './row.js';
import { finishable } from './tidy.js';

export interface VerifyOptions {
  /** Public key that every manifest must be signed with; null: signatures are not looked at. */
  readonly key: KeyObject | null;
  /** Manifests that somebody else has recorded: without them, archives cut off from the end of the chain are not missed. */
  readonly known: readonly Head[];
  /** After each archive: bytes of files that were read. */
  readonly onProgress?: (bytes: number) => void;
}

export interface Verdict {
  readonly archives: number;
  readonly rows: number;
  /** Where the chain ends: to be kept elsewhere. */
  readonly head: Head;
  /** The first broken link; null if there is none. */
  readonly broken: { readonly name: string; readonly what: string } | null;
  /** What is no fault: leftovers of a crash. */
  readonly notes: readonly string[];
}

class Broken extends Error {
  constructor(
    readonly file: string,
    what: string,
  ) {
    super(what);
  }
}

/**
 * Goes over the whole chain, from the oldest archive on, and every row in it.
 *
 * @throws AuditdError `ARCHIVE_FAILED` if the directory can't be read, `CONFIG_INVALID` for zstd without zstd
 */
export function verifyArchives(directory: string, options: VerifyOptions): Verdict {
  const contents = contentsOf(directory);
  const chain = new Chain(directory, contents, options);
  let broken: Verdict['broken'] = null;
  try {
    chain.verify();
  } catch (error) {
    if (error instanceof Broken) broken = { name: error.file, what: error.message };
    else throw error;
  }
  const { archives, rows, head, notes } = chain;
  return { archives, rows, head, broken, notes };
}

class Chain {
  archives = 0;
  rows = 0;
  head: Head = { sequence: 0, sha256: null };
  readonly notes: string[] = [];
  private readonly claimed = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly contents: Contents,
    private readonly options: VerifyOptions,
  ) {}

  verify(): void {
    const { manifests, files, others, temporary } = this.contents;
    const removed = this.anchor();
    for (const [sequence, name] of manifests) {
      if (sequence <= removed) continue;
      this.links(sequence, name);
      this.archives++;
    }
    for (const known of this.options.known) {
      if (known.sequence > this.head.sequence)
        throw new Broken(stemless(known.sequence), 'it was recorded, and is missing at the end of the chain');
    }
    for (const name of temporary) this.leftover(name);
    for (const name of files) {
      const sequence = sequenceOf(name) ?? 0;
      if (sequence <= removed) this.notes.push(`${name} is older than the chain; the next run removes it`);
      else if (!this.claimed.has(name)) throw new Broken(name, 'no manifest names it');
    }
    const [other] = others;
    if (other !== undefined) throw new Broken(other, 'it is no part of the chain');
  }

  /** Of a run that was broken off. Once the chain is verified. */
  private leftover(name: string): void {
    const { directory, contents, options } = this;
    const { file } =
      finishable(directory, name.slice(0, -TEMPORARY.length), contents.files, options.key) ?? {};
    if (file !== undefined) this.claimed.add(file);
    this.notes.push(
      file === undefined
        ? `${name} was left by a run that was broken off; the next one removes it`
        : `${file} is whole, and its run was broken off before the manifest ${name} had its name; the next one puts that right`,
    );
  }

  /** The number of the newest archive that was removed because of its age. */
  private anchor(): number {
    const anchor = this.reading(ANCHOR, () => readAnchor(this.directory, this.contents, this.options.key));
    if (anchor === null) return 0;
    this.head = { sequence: anchor.sequence, sha256: anchor.previous_sha256 };
    this.asRecorded(ANCHOR);
    return anchor.sequence;
  }

  private links(sequence: number, name: string): void {
    const expected = this.head.sequence + 1;
    if (sequence !== expected) throw new Broken(stemless(expected), 'its manifest is missing');
    const { manifest, sha256 } = this.reading(name, () =>
      readManifest(this.directory, name, this.options.key),
    );
    const { source, timeline, month } = manifest;
    if (manifest.previous_sha256 !== this.head.sha256)
      throw new Broken(name, 'the archive before it is not the one it was put behind');
    this.head = { sequence, sha256 };
    this.asRecorded(name);
    const { extension } = compressorOf(manifest.compression);
    if (manifest.file !== `${stemOf(sequence, source, timeline, month)}${extension}`)
      throw new Broken(name, 'it names the file of another archive');
    if (!this.contents.files.has(manifest.file)) throw new Broken(manifest.file, 'it is missing');
    this.claimed.add(manifest.file);
    const twin = [...this.contents.files].find(
      (file) => sequenceOf(file) === sequence && file !== manifest.file,
    );
    if (twin !== undefined) throw new Broken(twin, 'no manifest names it');
    this.rows += this.reading(manifest.file, () => checkArchive(this.directory, manifest));
    this.options.onProgress?.(manifest.bytes);
  }

  private asRecorded(name: string): void {
    const { sequence, sha256 } = this.head;
    for (const known of this.options.known) {
      if (known.sequence === sequence && known.sha256 !== sha256)
        throw new Broken(name, 'it is not the one that was recorded when the archive was made');
    }
  }

  private reading<T>(name: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof AuditdError)) throw error;
      if (error.code !== 'ARCHIVE_BROKEN') throw error;
      throw new Broken(name, messageOf(error.cause ?? error));
    }
  }
}

/**
 * Compares the file of an archive with its manifest, to the last row.
 *
 * @returns how many rows it has
 * @throws AuditdError `ARCHIVE_BROKEN` that says what is wrong; another if it can't be read here
 */
export function checkArchive(directory: string, manifest: Manifest): number {
  const fd = openAsWritten(directory, manifest);
  try {
    return checkRows(fd, manifest);
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    throw broken(directory, manifest.file, messageOf(error));
  } finally {
    closeSync(fd);
  }
}

/** @throws Error that says what is wrong */
function checkRows(fd: number, manifest: Manifest): number {
  const compressor = compressorOf(manifest.compression);
  const codec = new LineCodec(manifest.columns.map(({ name }) => name));
  const content = createHash('sha256');
  let offset = 0;
  let count = 0;
  let last = Number.NEGATIVE_INFINITY;
  for (const block of manifest.blocks) {
    const bytes = readBlock(fd, offset, block, compressor);
    offset += block[0];
    content.update(bytes);
    const lines = linesOf(bytes);
    if (lines.length !== block[2]) throw new Error('a block has not the rows that its manifest says');
    for (const line of lines) {
      const { id } = codec.decode(line);
      if (id <= last) throw new Error(`row ${id} stands behind row ${last}`);
      if (count === 0 && id !== manifest.ids.first) throw new Error('it begins with another row');
      last = id;
      count++;
    }
    if (last !== block[4]) throw new Error('a block ends with another row than its manifest says');
  }
  if (count !== manifest.count || last !== manifest.ids.last || offset !== manifest.bytes)
    throw new Error('it has not the rows that its manifest says');
  if (content.digest('hex') !== manifest.content_sha256) throw new Error('its content was changed');
  return count;
}

function stemless(sequence: number): string {
  return `archive ${String(sequence).padStart(6, '0')}`;
}
