import { readSync } from 'node:fs';
import type { Compressor } from './compression.js';
import type { Block } from './manifest.js';

/** Approximate bytes of lines per block: a reader has to unpack a block to get one line. */
export const BLOCK_BYTES = 256 * 1024;

/** The lines of a block of an archive. @throws Error if it does not match its entry */
export function readBlock(fd: number, offset: number, block: Block, compressor: Compressor): Buffer {
  const [length, content] = block;
  const packed = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; ) {
    const read = readSync(fd, packed, at, length - at, offset + at);
    if (read === 0) throw new Error('the file is too short');
    at += read;
  }
  const bytes = compressor.decompress(packed, content);
  if (bytes.length !== content) throw new Error('a block does not have the length that its manifest names');
  return bytes;
}

/** The lines without their ends. */
export function splitLines(bytes: Buffer): string[] {
  const lines = bytes.toString('utf8').split('\n');
  lines.pop();
  return lines;
}

/** The offset of each block. */
export function offsetsOf(blocks: readonly Block[]): number[] {
  let offset = 0;
  return blocks.map(([length]) => {
    const begin = offset;
    offset += length;
    return begin;
  });
}
