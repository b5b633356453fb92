/** The compression of archives in tests: `ARCHIVE_COMPRESSION=zstd npx vitest run test/retention …`, if Node.js supports it. */
export const COMPRESSION = process.env.ARCHIVE_COMPRESSION === 'zstd' ? 'zstd' : 'gzip';

/** The suffix of such files, and the program that reads them. */
export const [ENDING, CAT] = COMPRESSION === 'zstd' ? ['ndjson.zst', 'zstdcat'] : ['ndjson.gz', 'zcat'];
