import { advance, advancedPositions, type Positions, positionIn } from '../positions.js';
import type { ResumePosition } from '../sink.js';
import { type FilePosition, type Point, type RecoveredGroup, RecoveredRows } from './file-position.js';
import type { LogFile } from './log-file-set.js';
import type { Line, LinePosition } from './read-lines.js';

/** Everything after `at` is truncated. */
export interface Cut {
  readonly number: number;
  readonly at: number;
  readonly bytes: number;
}

/** What to do before anything is written. */
export interface RecoveryPlan {
  /** The file to continue; null: create one with a number above all others. */
  readonly current: {
    readonly file: LogFile;
    readonly since: number;
    readonly begin: Point;
    readonly offset: number;
  } | null;
  readonly cuts: readonly Cut[];
  /** What is in the files in the end. */
  readonly positions: Positions;
  /** Where the cursors must go. */
  readonly corrections: readonly ResumePosition[];
  readonly found: readonly RecoveredGroup[];
  /** True if lines that the cursors have passed are gone. */
  readonly lost: boolean;
}

/** What recovery asks of a file. */
export interface RecoveredContents {
  /** True if a line may begin at this offset: a newline precedes it. */
  beginsLine(file: LogFile, offset: number): boolean;
  /** The valid lines from an offset on, up to the first invalid one. */
  linesFrom(file: LogFile, offset: number): Iterable<Line>;
}

/**
 * Compares the files with the saved position.
 *
 * @param files ascending by number
 * @param distrust true if an fdatasync failed: nothing after the durable point counts, even if it can be read
 */
export function planRecovery(
  note: FilePosition,
  files: readonly LogFile[],
  contents: RecoveredContents,
  distrust = false,
): RecoveryPlan {
  const found = new RecoveredRows(note.found);
  const cuts: Cut[] = [];
  const saved = files.find((file) => file.number === note.file);
  const rest = files.filter((file) => file.number > note.file);
  let positions: Positions = note.end.positions;
  let current: RecoveryPlan['current'] = null;
  let lost = false;

  if (saved !== undefined) {
    const from = readingPoint(note, saved, contents);
    const read = readSaved(note, from, distrust ? [] : contents.linesFrom(saved, from.offset), found);
    const { offset } = read;
    lost = !read.intact;
    positions = read.positions;
    const begin = note.begin.offset > from.offset ? from : note.begin;
    current = { file: saved, since: note.since, begin, offset };
    if (saved.size > offset) cuts.push({ number: saved.number, at: offset, bytes: saved.size - offset });
  }
  // A roll makes the old file durable before it begins another. So if lines are lost and there is another, it was by another
  // hand or a disk that lies: they are written again in a new file, and later ones stay as they are, but for a torn end.
  let passed = lost && rest.length > 0;
  for (const file of rest) {
    const begin = { offset: file.start, positions };
    let offset = file.start;
    for (const line of contents.linesFrom(file, file.start)) {
      offset = line.end;
      if (passed) continue;
      positions = advanceTo(positions, line.position);
      found.add(line.position);
    }
    current = { file, since: file.since, begin, offset };
    if (file.size <= offset) continue;
    cuts.push({ number: file.number, at: offset, bytes: file.size - offset });
    passed ||= file !== rest.at(-1);
  }
  if (passed) current = null;
  const rows = lost ? found.upTo(positions) : found.all();
  return {
    current,
    cuts,
    positions,
    corrections: corrections(note, positions, rows, lost),
    found: rows,
    lost,
  };
}

/** The last point that the file still has. */
function readingPoint({ durable, begin }: FilePosition, file: LogFile, contents: RecoveredContents): Point {
  const there = ({ offset }: Point): boolean => offset <= file.size && contents.beginsLine(file, offset);
  if (there(durable)) return durable;
  return there(begin) ? begin : { offset: file.start, positions: begin.positions };
}

function readSaved(
  { end }: FilePosition,
  from: Point,
  lines: Iterable<Line>,
  found: RecoveredRows,
): { offset: number; positions: Positions; intact: boolean } {
  let { offset, positions } = from;
  let intact = offset === end.offset;
  if (intact) positions = end.positions;
  for (const line of lines) {
    positions = advanceTo(positions, line.position);
    offset = line.end;
    if (intact) found.add(line.position);
    if (offset === end.offset) {
      intact = true;
      positions = end.positions;
    }
  }
  return { offset, positions, intact };
}

function advanceTo(positions: Positions, line: LinePosition): Positions {
  return advance(positions, line.source, line.timeline, line.sequence);
}

function corrections(
  note: FilePosition,
  now: Positions,
  rows: readonly RecoveredGroup[],
  lost: boolean,
): ResumePosition[] {
  const moved = lost ? advancedPositions(note.end.positions, now) : [];
  const back = moved.map((p) => ({ ...p, found: rowsOf(rows, p.source, p.timeline) }));
  const forward = rows
    .filter((f) => !moved.some((p) => p.source === f.source && p.timeline <= f.timeline))
    .map((f) => ({
      source: f.source,
      timeline: f.timeline,
      upTo: positionIn(now, f.source, f.timeline) ?? f.rows.at(-1)?.[0] ?? 0,
      found: f.rows,
    }));
  return [...back, ...forward];
}

function rowsOf(found: readonly RecoveredGroup[], source: string, timeline: number): RecoveredGroup['rows'] {
  return found.find((f) => f.source === source && f.timeline === timeline)?.rows ?? [];
}

/**
 * The position of a sink whose saved position is lost with state.db, from the last lines of its files. Only rows of Postern's own table
 * are looked for: the daemon's own table was lost with state.db and starts at 1 again.
 *
 * @param files ascending by number
 * @param linesBefore a file's lines, last first, null for an invalid line; bounded by the caller
 */
export function planRebuild(
  files: readonly LogFile[],
  linesBefore: (file: LogFile) => Iterable<Line | null>,
): RecoveryPlan {
  const newest = files.at(-1);
  if (newest === undefined) {
    return { current: null, cuts: [], positions: [], corrections: [], found: [], lost: false };
  }
  let offset: number | null = null;
  let position: RecoveryPlan['positions'][number] | null = null;
  for (const file of files.toReversed()) {
    for (const line of linesBefore(file)) {
      if (line === null) continue;
      if (file === newest) offset ??= line.end;
      if (line.position.source !== 'postern') continue;
      const { source, timeline, sequence } = line.position;
      position = { source, timeline, upTo: sequence };
      break;
    }
    if (position !== null) break;
  }
  const at = offset ?? Math.min(newest.start, newest.size);
  const positions = position === null ? [] : [position];
  // The positions at the file's beginning are unknown: a file that is truncated by hand later is not read again from before this point.
  const begin = { offset: at, positions };
  return {
    current: { file: newest, since: newest.since, begin, offset: at },
    cuts: newest.size > at ? [{ number: newest.number, at, bytes: newest.size - at }] : [],
    positions,
    corrections: positions.map((p) => ({ ...p, found: [] })),
    found: [],
    lost: false,
  };
}

/** The position of a sink that saves none: after the last line of the newest file. The sink reads the lines itself. */
export function planEnd(
  files: readonly LogFile[],
  linesBefore: (file: LogFile) => Iterable<Line | null>,
): RecoveryPlan {
  const nothing = { positions: [], corrections: [], found: [], lost: false };
  const newest = files.at(-1);
  if (newest === undefined) return { current: null, cuts: [], ...nothing };
  const start = Math.min(newest.start, newest.size);
  let at = start;
  for (const line of linesBefore(newest)) {
    if (line === null) continue;
    at = line.end;
    break;
  }
  return {
    current: { file: newest, since: newest.since, begin: { offset: start, positions: [] }, offset: at },
    cuts: newest.size > at ? [{ number: newest.number, at, bytes: newest.size - at }] : [],
    ...nothing,
  };
}
