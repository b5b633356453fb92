import { createQueryService, type QueryService, type QueryServiceOptions } from './service.js';

/** On a busy processor the thread that ships gets three times what one of these does. */
const NICE = 5;

/**
 * Two threads: one for pages that indexes answer, one for what goes over many rows. So an export, or a search in the text of ten
 * million rows, holds up nobody who leafs through the log.
 */
export function createTwoQueries(options: QueryServiceOptions): QueryService {
  const quick = createQueryService({ nice: NICE, ...options });
  const long = createQueryService({ nice: NICE, ...options });
  return {
    page: (filter, more) => (filter.q === null ? quick : long).page(filter, more),
    text: (filter, format, more) => (filter.q === null ? quick : long).text(filter, format, more),
    stats: (filter, more) => long.stats(filter, more),
    stream: (filter, format, more) => long.stream(filter, format, more),
    async close() {
      await Promise.all([quick.close(), long.close()]);
    },
  };
}
