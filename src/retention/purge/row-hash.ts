import { createHash } from 'node:crypto';
import { type ArchivedRow, type ArchivedValue, TextBytes } from '../archive/row-codec.js';

/**
 * 128 bits over the id and every column of a row, by which the purge identifies it: 32 hex digits. NULL values are skipped, so that a
 * column added to the table between archive and purge changes no hash.
 */
export function rowHash({ id, columns }: Pick<ArchivedRow, 'id' | 'columns'>): string {
  const hash = createHash('sha256').update(`${id}`);
  let text = '';
  for (const name of Object.keys(columns).sort((a, b) => (a < b ? -1 : 1))) {
    const value = columns[name] ?? null;
    if (value === null) continue;
    if (value instanceof Uint8Array || value instanceof TextBytes) {
      const bytes = value instanceof TextBytes ? value.bytes : value;
      hash.update(`${text};${name.length}:${name}${typeLetter(value)}${bytes.length}:`).update(bytes);
      text = '';
    } else {
      const written = Object.is(value, -0) ? '-0' : String(value);
      text += `;${name.length}:${name}${typeLetter(value)}${written.length}:${written}`;
    }
  }
  return hash.update(text).digest('hex').slice(0, 32);
}

function typeLetter(value: Exclude<ArchivedValue, null>): string {
  if (typeof value === 'string') return 't';
  if (typeof value === 'bigint') return 'i';
  if (typeof value === 'number') return 'r';
  return value instanceof TextBytes ? 'x' : 'b';
}
