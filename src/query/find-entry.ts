import type { SourceName } from '../audit/event.js';
import { encodeCursor } from './cursor.js';
import type { Entry } from './entry.js';
import { EVERYTHING } from './filter.js';
import type { QueryService } from './service.js';

/** One entry by source and row id, of the archives if it is no longer in the table; null if there is none. */
export async function findEntry(
  queries: Pick<QueryService, 'page'>,
  source: SourceName,
  id: number,
): Promise<Entry | null> {
  if (id >= Number.MAX_SAFE_INTEGER) return null;
  for (const archives of [false, true]) {
    const filter = { ...EVERYTHING, source, archives };
    const cursor = encodeCursor(filter, { [source]: { before: id + 1, snapshot: id } });
    const { entries } = await queries.page(filter, { cursor, limit: 1, count: 'none' });
    const found = entries.find((entry) => entry.id === `${source}:${id}`);
    if (found !== undefined) return found;
  }
  return null;
}
