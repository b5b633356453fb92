import { toSafeJson } from '../audit/unsafe-characters.js';
import { CSV_COLUMNS, field } from './csv.js';

/** The last line of what lacks entries, so that the file itself says so: no reader of entries takes it for one. */
export function trailer(format: 'json' | 'ndjson' | 'csv', incomplete: string): string {
  switch (format) {
    case 'json':
      return ''; // a member of the object says it
    case 'ndjson':
      return `${toSafeJson({ incomplete })}\n`;
    case 'csv':
      return `${field(`INCOMPLETE: ${incomplete}`)}${','.repeat(CSV_COLUMNS.length - 1)}\r\n`;
  }
}
