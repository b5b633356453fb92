import { type AuditSource, type HighWaterMark, type PageOfRows, tryToRead } from '../source/source.js';

const PAGE_ROWS = 1_000;
const PAGE_BYTES = 2 * 2 ** 20;

/** A page of the rows below one, the newest of them. Null while the table can't be read. */
export function pageBefore(source: AuditSource, mark: HighWaterMark, before: number): PageOfRows | null {
  const found = tryToRead(source, { mark, after: 0, before, maxRows: PAGE_ROWS, maxBytes: PAGE_BYTES });
  if (found.state !== 'reading') return null;
  return found.events.length === 0 && found.more ? null : found; // locked for a moment
}
