/**
 * How far a sink's files are written: what of it is saved beside the cursors (`FilePosition`), how it is kept while writing
 * (`WriteProgress`), and the rows that a recovery found behind what was saved (`RecoveredRows`). Meaning and use: appender.ts.
 */
import { z } from 'zod';
import type { SourceName } from '../../audit/event.js';
import { advance, type Positions, positionIn } from '../positions.js';
import type { LinePosition } from './read-lines.js';

/** An offset in a file and the positions of the lines before it. */
export interface Point {
  readonly offset: number;
  readonly positions: Positions;
}

/** Rows found after a saved place that shipping has not confirmed yet. */
export interface RecoveredGroup {
  readonly source: SourceName;
  readonly timeline: number;
  /** `[row id, event.id]`, ascending. */
  readonly rows: ReadonlyArray<readonly [number, string]>;
}

/** What a local sink gives shipping to keep beside the cursors. */
export interface FilePosition {
  /** Number of the file written to. */
  readonly file: number;
  /** When that file was begun, milliseconds since the epoch. */
  readonly since: number;
  /** Its beginning (after a header line, if there is one). */
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

/** Whether both are saved as the same text. `found`, which may be of megabytes after the restore of a backup, is compared by identity. */
export function isSamePosition(
  { found, ...a }: FilePosition,
  { found: others, ...b }: FilePosition,
): boolean {
  return found === others && JSON.stringify(a) === JSON.stringify(b);
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

/** A part of a longer string keeps all of it in memory: here, each line that was read. */
function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Rows found at the destination, by (source, timeline). */
export class RecoveredRows {
  private readonly groups: Array<{
    source: RecoveredGroup['source'];
    timeline: number;
    rows: Array<readonly [number, string]>;
  }>;

  constructor(known: readonly RecoveredGroup[]) {
    this.groups = known.map((f) => ({ ...f, rows: [...f.rows] }));
  }

  add({ source, timeline, sequence, id }: LinePosition): void {
    let group = this.groups.find((g) => g.source === source && g.timeline === timeline);
    if (group === undefined) {
      group = { source, timeline, rows: [] };
      this.groups.push(group);
    }
    group.rows.push([sequence, copyOf(id)]);
  }

  all(): RecoveredGroup[] {
    return this.groups;
  }

  /** Only what is still there. */
  upTo(positions: Positions): RecoveredGroup[] {
    return this.groups
      .map((g) => ({
        ...g,
        rows: g.rows.filter(([id]) => id <= (positionIn(positions, g.source, g.timeline) ?? 0)),
      }))
      .filter((g) => g.rows.length > 0);
  }
}

/** Drops the rows that shipping has passed: the batch is behind them, or of a later timeline. */
function confirm(
  found: readonly RecoveredGroup[],
  source: string,
  timeline: number,
  upTo: number,
): readonly RecoveredGroup[] {
  const passed = ({ rows: [first], ...f }: RecoveredGroup): boolean =>
    f.source === source && (f.timeline < timeline || (f.timeline === timeline && (first?.[0] ?? 0) <= upTo));
  if (!found.some(passed)) return found;
  return found
    .map((f) => {
      if (f.source !== source || f.timeline > timeline) return f;
      return { ...f, rows: f.timeline < timeline ? [] : f.rows.filter(([id]) => id > upTo) };
    })
    .filter((f) => f.rows.length > 0);
}

const NOWHERE: Point = { offset: 0, positions: [] };

/** How far the current file is begun, durable and written, and what of it shipping has yet to pass: the live form of a `FilePosition`. */
export class WriteProgress {
  private begin = NOWHERE;
  private durable = NOWHERE;
  private end = NOWHERE;
  private found: readonly RecoveredGroup[] = [];

  /** Bytes of the file. */
  get size(): number {
    return this.end.offset;
  }

  /** True if the file has no event. */
  get empty(): boolean {
    return this.end.offset === this.begin.offset;
  }

  /** Bytes that a power loss may undo. */
  get undurable(): number {
    return this.end.offset - this.durable.offset;
  }

  /** The position after a recovery. Nothing after `begin` counts as durable. */
  resume(begin: Point, end: Point): void {
    this.begin = begin;
    this.durable = begin;
    this.end = end;
  }

  /** Goes on in a new file, whose events begin at `offset`. */
  startFile(offset: number, positions: Positions = this.end.positions): void {
    this.begin = { offset, positions };
    this.durable = this.begin;
    this.end = this.begin;
  }

  remember(found: readonly RecoveredGroup[]): void {
    this.found = found;
  }

  /** Before a batch: everything before its first row is delivered. No later loss goes further back. */
  beginBatch(source: SourceName, timeline: number, first: number): void {
    if (positionIn(this.end.positions, source, timeline) !== null) return;
    const before = ({ offset, positions }: Point): Point => ({
      offset,
      positions: advance(positions, source, timeline, first - 1),
    });
    this.begin = before(this.begin);
    this.durable = before(this.durable);
    this.end = before(this.end);
  }

  wrote(bytes: number): void {
    this.end = { ...this.end, offset: this.end.offset + bytes };
  }

  /** Everything up to this row is delivered. */
  advance(source: SourceName, timeline: number, upTo: number): void {
    this.end = { ...this.end, positions: advance(this.end.positions, source, timeline, upTo) };
    if (this.undurable === 0) this.durable = this.end;
    this.found = confirm(this.found, source, timeline, upTo);
  }

  /** Call this before an fdatasync, and the returned function after it: writes in between do not count. */
  syncing(): () => void {
    const point = this.end;
    return () => {
      this.durable = point.offset === this.end.offset ? this.end : point;
    };
  }

  position(file: number, since: number): FilePosition {
    const { begin, durable, end, found } = this;
    return { file, since, begin, durable, end, found };
  }
}
