import type { SourceName } from '../audit/event.js';

/**
 * The names under which a source's columns were read, by column key: the input of a row's `event.id`. If a column disappeared, it would be
 * read as NULL and every row would seem changed. So the reader waits until the column is back.
 */
export type ColumnsRead = Readonly<Record<string, string>>;

/** Their key in `meta` of state.db. */
export function columnsNote(source: SourceName): string {
  return `columns_read_${source}`;
}

/** An unreadable note counts as empty. */
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
