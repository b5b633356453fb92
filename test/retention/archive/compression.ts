/** What the tests have archives compressed with: `ARCHIVE_COMPRESSION=zstd npx vitest run test/retention …`, on a Node.js that can. */
export const COMPRESSION = process.env.ARCHIVE_COMPRESSION === 'zstd' ? 'zstd' : 'gzip';

/** What the names of such files end in, and the program that reads them. */
export const [ENDING, CAT] = COMPRESSION === 'zstd' ? ['ndjson.zst', 'zstdcat'] : ['ndjson.gz', 'zcat'];
