import type { SourceName } from '../audit/event.js';

/**
 * By which names a source's columns were read, by their keys: what a row's `event.id` was made of. A column that is gone since would be
 * read as NULL, and every row be another one than it was, so it is waited for.
 */
export type ColumnsRead = Readonly<Record<string, string>>;

/** The name under which state.db has them, in `meta`. */
export function columnsNote(source: SourceName): string {
  return `columns_read_${source}`;
}

/** What can't be read counts as nothing read. */
export function parseColumnsRead(note: string | null): ColumnsRead {
  let value: unknown;
  try {
    value = JSON.parse(note ?? 'null');
  } catch {
    return {};
  }
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([, name]) => typeof name === 'string'));
}
