import { z } from 'zod';
import type { SourceName } from '../../audit/event.js';
import type { Positions } from '../positions.js';

/** A place in a file and what stands before it. */
export interface Point {
  readonly offset: number;
  readonly positions: Positions;
}

/** Rows found behind a saved place of which shipping has not yet shown that it took them over. */
export interface RecoveredGroup {
  readonly source: SourceName;
  readonly timeline: number;
  /** `[row id, event.id]`, ascending. */
  readonly rows: ReadonlyArray<readonly [number, string]>;
}

/** What a local sink gives shipping to keep beside the cursors. Meaning and use: appender.ts. */
export interface FilePosition {
  /** Number of the file written to. */
  readonly file: number;
  /** When that file was begun, milliseconds since the epoch. */
  readonly since: number;
  /** Its beginning (behind a header line, if it has one). */
  readonly begin: Point;
  /** Up to here it is known to be on the medium. */
  readonly durable: Point;
  /** Up to here it is written. */
  readonly end: Point;
  readonly found: readonly RecoveredGroup[];
}

const id = z.int().min(0);
const source = z.enum(['postern', 'auditd', 'fleet']);
const point = z.strictObject({
  offset: id,
  positions: z.array(z.strictObject({ source, timeline: id, upTo: id })),
});
const schema = z.strictObject({
  v: z.literal(1),
  file: id,
  since: z.number(),
  begin: point,
  durable: point,
  end: point,
  found: z.array(z.strictObject({ source, timeline: id, rows: z.array(z.tuple([id, z.string()])) })),
});

export function formatFilePosition(note: FilePosition): string {
  return JSON.stringify({ v: 1, ...note });
}

/** Null for what no sink of this version wrote. */
export function parseFilePosition(text: string): FilePosition | null {
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
