import type { Entry } from './entry.js';
import type { Filter } from './filter.js';

/** Entries that have left the table. */
export interface ArchiveReader {
  /** Those that are meant, the newest first. */
  entries(filter: Filter): AsyncIterable<Entry>;
}
