import type { SourceName } from '../audit/event.js';
import { encodeCursor } from './cursor.js';
import type { Entry } from './entry.js';
import { EVERYTHING } from './filter.js';
import type { QueryService } from './service.js';

/** One entry by source and row id; null if there is none. */
export async function findEntry(
  queries: Pick<QueryService, 'page'>,
  source: SourceName,
  id: number,
): Promise<Entry | null> {
  const filter = { ...EVERYTHING, source };
  const cursor = encodeCursor(filter, { [source]: { before: id + 1, snapshot: id } });
  const { entries } = await queries.page(filter, { cursor, limit: 1, count: 'none' });
  return entries.find((entry) => entry.id === `${source}:${id}`) ?? null;
}
