import type { QueryService } from '../../query/service.js';
import { removeAtEnd } from './exit-cleanup.js';

/** Queries of one command. It asks once, so a map of times would cost more than it saves; copies of a stopped Postern's database go with it. */
export async function withQueries(
  configPath: string | undefined,
  work: (queries: QueryService) => Promise<void>,
): Promise<void> {
  const [{ loadConfig }, { newCopiesDirectory, queryOptionsOf }, { createQueryService }] = await Promise.all([
    import('../../config/load.js'),
    import('../../query/query-options.js'),
    import('../../query/service.js'),
  ]);
  const options = queryOptionsOf(loadConfig(configPath ?? null, process.env).config);
  const copies = newCopiesDirectory();
  const remove = removeAtEnd(copies);
  const queries = createQueryService({ ...options, zoneRows: 0, copies });
  try {
    await work(queries);
  } finally {
    await queries.close();
    remove();
  }
}
