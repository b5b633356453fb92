import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { AuditdError, messageOf } from '../../errors.js';
import { archiveBroken } from './archive-files.js';
import { readBlock, splitLines } from './compressed-blocks.js';
import { compressorOf } from './compression.js';
import { openAsWritten } from './files.js';
import type { Manifest } from './manifest.js';
import { LineCodec } from './row-codec.js';

/**
 * Compares the file of an archive with its manifest, to the last row.
 *
 * @returns the number of rows
 * @throws AuditdError `ARCHIVE_BROKEN` with what is wrong; another error if this process can't read it
 */
export function checkArchive(
  directory: string,
  manifest: Manifest,
  onId: (id: number) => void = () => undefined,
): number {
  const fd = openAsWritten(directory, manifest);
  try {
    return checkRows(fd, manifest, onId);
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    throw archiveBroken(directory, manifest.file, messageOf(error));
  } finally {
    closeSync(fd);
  }
}

/** @throws Error with what is wrong */
function checkRows(fd: number, manifest: Manifest, onId: (id: number) => void): number {
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
    const lines = splitLines(bytes);
    if (lines.length !== block[2]) throw new Error('a block does not have the rows of its manifest');
    for (const line of lines) {
      const { id } = codec.decode(line);
      if (id <= last) throw new Error(`row ${id} follows row ${last}: ids must ascend`);
      if (count === 0 && id !== manifest.ids.first)
        throw new Error('it does not begin with the row that its manifest names');
      last = id;
      onId(id);
      count++;
    }
    if (last !== block[4]) throw new Error('a block does not end with the row that its manifest names');
  }
  if (count !== manifest.count || last !== manifest.ids.last || offset !== manifest.bytes)
    throw new Error('it does not have the rows of its manifest');
  if (content.digest('hex') !== manifest.content_sha256) throw new Error('its content was changed');
  return count;
}
