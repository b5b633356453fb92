import type { ApiContext } from '../env.js';
import type { AnswerFormat } from '../request-schemas.js';

export const CONTENT_TYPES: Readonly<Record<AnswerFormat, string>> = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
};

const ACCEPTED: Readonly<Record<string, AnswerFormat>> = {
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
  'text/csv': 'csv',
};

/** What the client wants best of what there is (RFC 9110 section 12.5.1); JSON if it says nothing that we have. */
export function formatOf(c: ApiContext, asked: AnswerFormat | undefined): AnswerFormat {
  if (asked !== undefined) return asked;
  const wanted = (c.req.header('accept') ?? '')
    .split(',', 20)
    .map((part) => part.trim().toLowerCase())
    .map((part) => ({
      format: ACCEPTED[part.split(';')[0]?.trim() ?? ''],
      quality: Number(/;\s*q=([\d.]+)/.exec(part)?.[1] ?? 1),
    }))
    .filter(({ format, quality }) => format !== undefined && quality > 0)
    .sort((a, b) => b.quality - a.quality);
  return wanted[0]?.format ?? 'json';
}
