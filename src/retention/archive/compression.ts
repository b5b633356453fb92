import zlib from 'node:zlib';
import { AuditdError } from '../../errors.js';

export type Compression = 'gzip' | 'zstd' | 'none';

/** Both formats may be concatenated: `zcat` and `zstdcat` read several pieces as one. */
export interface Compressor {
  /** The suffix of file names. */
  readonly extension: string;
  compress(bytes: Buffer): Buffer;
  /** @param length of the output; more is an error */
  decompress(bytes: Buffer, length: number): Buffer;
}

/** Part of node:zlib since Node 22.15; missing in the types of Node 20. */
interface Zstd {
  readonly zstdCompressSync?: (bytes: Buffer) => Buffer;
  readonly zstdDecompressSync?: (bytes: Buffer, options: { maxOutputLength: number }) => Buffer;
}

/** @throws AuditdError `CONFIG_INVALID` if this Node.js does not support it */
export function compressorOf(compression: Compression): Compressor {
  switch (compression) {
    case 'gzip':
      return {
        extension: '.ndjson.gz',
        compress: (bytes) => zlib.gzipSync(bytes),
        decompress: (bytes, length) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, length) }),
      };
    case 'zstd': {
      const { zstdCompressSync, zstdDecompressSync } = zlib as Zstd;
      if (zstdCompressSync === undefined || zstdDecompressSync === undefined) {
        throw new AuditdError(
          'CONFIG_INVALID',
          `zstd needs Node.js 22.15 or later, and this is ${process.version}`,
          { next: 'Set retention.archive.compression to gzip, or use a newer Node.js' },
        );
      }
      return {
        extension: '.ndjson.zst',
        compress: (bytes) => zstdCompressSync(bytes),
        decompress: (bytes, length) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, length) }),
      };
    }
    case 'none':
      return { extension: '.ndjson', compress: (bytes) => bytes, decompress: (bytes) => bytes };
  }
}
