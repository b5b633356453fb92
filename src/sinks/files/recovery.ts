import { advance, advancedPositions, type Positions, positionIn } from '../positions.js';
import { RecoveredRows } from '../recovered-rows.js';
import type { ResumePosition } from '../sink.js';
import type { FilePosition, Point, RecoveredGroup } from './file-position.js';
import type { Line, LinePosition } from './read-lines.js';

/** One of a sink's own files, as it lies there. */
export interface LogFile {
  readonly number: number;
  readonly size: number;
  /** Where its first event stands, behind a header line. */
  readonly start: number;
  /** When it was begun, milliseconds since the epoch. */
  readonly since: number;
}

/** Everything behind `at` is cut off. */
export interface Cut {
  readonly number: number;
  readonly at: number;
  readonly bytes: number;
}

/** What to do before anything is written. */
export interface RecoveryPlan {
  /** The file to go on with; null: begin a new one with a number above all others. */
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
  /** True if lines behind which the cursors stand are gone. */
  readonly lost: boolean;
}

/** What recovery asks of a file. */
export interface RecoveredContents {
  /** True if a line may begin at this offset: a newline stands before it. */
  beginsLine(file: LogFile, offset: number): boolean;
  /** The valid lines from an offset on, up to the first invalid one. */
  linesFrom(file: LogFile, offset: number): Iterable<Line>;
}

/**
 * What the files say against what was saved.
 *
 * @param files ascending by number
 * @param distrust true if an fdatasync failed: nothing behind the durable point counts, whatever can be read there
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
