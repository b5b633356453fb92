import { toSafeJson } from '../audit/unsafe-characters.js';
import { CSV_COLUMNS, field } from './csv.js';

/** The last line of an export that lacks entries, so that the file itself reports it. No reader mistakes it for an entry. */
export function trailer(format: 'json' | 'ndjson' | 'csv', incomplete: string): string {
  switch (format) {
    case 'json':
      return ''; // the object has the member `incomplete`
    case 'ndjson':
      return `${toSafeJson({ incomplete })}\n`;
    case 'csv':
      return `${field(`INCOMPLETE: ${incomplete}`)}${','.repeat(CSV_COLUMNS.length - 1)}\r\n`;
  }
}
