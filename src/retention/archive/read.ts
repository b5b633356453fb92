import { closeSync } from 'node:fs';
import { archiveBroken } from './archive-files.js';
import { compareOnce } from './comparison-cache.js';
import { offsetsOf, readBlock, splitLines } from './compressed-blocks.js';
import { compressorOf } from './compression.js';
import { openFile } from './files.js';
import type { Manifest } from './manifest.js';

/** The lines of an archive, one block at a time, the oldest first. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
export function* readLines(directory: string, manifest: Manifest): Generator<string[], void> {
  const offsets = offsetsOf(manifest.blocks);
  for (const [at, offset] of offsets.entries()) yield blockLines(directory, manifest, at, offset);
}

/** The lines of one block; the file is closed afterwards. @throws as `readLines` */
export function blockLines(directory: string, manifest: Manifest, at: number, offset: number): string[] {
  const block = manifest.blocks[at];
  const compressor = compressorOf(manifest.compression);
  if (block === undefined) return [];
  const fd = openChecked(directory, manifest);
  try {
    const lines = splitLines(readBlock(fd, offset, block, compressor));
    if (lines.length !== block[2]) throw new Error('a block does not have the rows of its manifest');
    return lines;
  } catch (error) {
    throw archiveBroken(directory, manifest.file, error instanceof Error ? error.message : 'it was changed');
  } finally {
    closeSync(fd);
  }
}

/** Opens the rows of an archive. They are compared with the manifest on this thread's first read, and again if the file changes. */
function openChecked(directory: string, manifest: Manifest): number {
  const fd = openFile(directory, manifest.file);
  try {
    compareOnce(directory, manifest, fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
