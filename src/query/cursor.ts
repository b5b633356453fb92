import { createHash } from 'node:crypto';
import type { SourceName } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import type { Filter } from './filter.js';

/** The position of a reader in one table. */
export interface PagePosition {
  /** The next rows are below this id. */
  readonly before: number;
  /** The highest id when the first page was read. Later rows are on no page of this cursor. */
  readonly snapshot: number;
}

export type PagePositions = Readonly<Partial<Record<SourceName, PagePosition>>>;

const VERSION = 1;
const LONGEST = 400;
const SOURCES: readonly SourceName[] = ['postern', 'auditd'];

/** Opaque text that is valid for this filter only, apart from its times, which `-7d` moves. */
export function encodeCursor(filter: Filter, positions: PagePositions): string {
  const places = SOURCES.flatMap((source) => {
    const position = positions[source];
    return position === undefined ? [] : [[source, position.before, position.snapshot]];
  });
  return Buffer.from(JSON.stringify([VERSION, keyOf(filter), places])).toString('base64url');
}

/** @throws AuditdError `USAGE` if the cursor is invalid or belongs to another filter */
export function decodeCursor(text: string, filter: Filter): PagePositions {
  const [version, key, places] = parse(text);
  if (version !== VERSION || typeof key !== 'string' || !Array.isArray(places)) throw invalidCursor();
  if (key !== keyOf(filter)) {
    throw new AuditdError('USAGE', 'cursor: this cursor belongs to another filter', {
      next: 'Use the filter of the page that returned the cursor, or start without a cursor',
    });
  }
  const positions: Partial<Record<SourceName, PagePosition>> = {};
  for (const place of places as unknown[]) {
    if (!Array.isArray(place)) throw invalidCursor();
    const [name, before, snapshot] = place as unknown[];
    const source = SOURCES.find((known) => known === name);
    if (source === undefined || !isId(before) || !isId(snapshot) || positions[source] !== undefined)
      throw invalidCursor();
    positions[source] = { before, snapshot };
  }
  return positions;
}

function parse(text: string): unknown[] {
  if (text.length > LONGEST || !/^[\w-]+$/.test(text)) throw invalidCursor();
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    if (Array.isArray(value) && value.length === 3) return value as unknown[];
  } catch {
    // thrown below
  }
  throw invalidCursor();
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function keyOf(filter: Filter): string {
  const { from: _from, to: _to, ...rest } = filter;
  return createHash('sha256').update(JSON.stringify(rest)).digest('hex').slice(0, 12);
}

function invalidCursor(): AuditdError {
  return new AuditdError('USAGE', 'cursor: invalid cursor', {
    next: 'Copy it unchanged from next, or start without a cursor',
  });
}
