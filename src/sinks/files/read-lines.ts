import type { SourceName } from '../../audit/event.js';
import type { Disk } from './filesystem.js';

/** The row that a written line is of. */
export interface LinePosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
}

/** Null if the text is not a complete line of ours. */
export type ParseLine = (text: string) => LinePosition | null;

export interface Line<P = LinePosition> {
  readonly position: P;
  /** Where the next line begins. */
  readonly end: number;
}

const FORWARD = 1 << 20;
const BACKWARD = 1 << 18;
const NEWLINE = 10;

/** The valid lines from `from` on. Ends before the first that is torn, holds a NUL or can't be parsed. */
export function* linesFrom(disk: Disk, fd: number, from: number, parse: ParseLine): Generator<Line> {
  const chunk = Buffer.allocUnsafe(FORWARD);
  let head: Buffer[] = [];
  for (let at = from; ; ) {
    const length = disk.read(fd, chunk, FORWARD, at);
    const nul = chunk.subarray(0, length).indexOf(0);
    const sound = chunk.subarray(0, nul < 0 ? length : nul);
    let begin = 0;
    for (let to = sound.indexOf(NEWLINE); to >= 0; to = sound.indexOf(NEWLINE, begin)) {
      const position = parse(Buffer.concat([...head, sound.subarray(begin, to)]).toString('utf8'));
      if (position === null) return;
      head = [];
      begin = to + 1;
      yield { position, end: at + begin };
    }
    if (length === 0 || nul >= 0) return;
    head.push(Buffer.from(sound.subarray(begin)));
    at += length;
  }
}

/**
 * The lines between `floor` and `to`, last line first, as far back as `limit` bytes. Text behind the last newline and lines
 * that can't be parsed are null.
 */
export function* linesBefore<P = LinePosition>(
  disk: Disk,
  fd: number,
  to: number,
  floor: number,
  parse: (text: string) => P | null,
  limit: number,
): Generator<Line<P> | null> {
  const chunk = Buffer.allocUnsafe(BACKWARD);
  const last = Math.max(floor, to - limit);
  let tail: Buffer[] = [];
  let end = to; // where the line that is being put together ends, its newline included
  let terminated = false;
  const line = (): Line<P> | null => {
    const text = Buffer.concat(tail);
    const position = terminated && !text.includes(0) ? parse(text.toString('utf8')) : null;
    return position === null ? null : { position, end };
  };
  for (let high = to; high > last; ) {
    const low = Math.max(last, high - BACKWARD);
    const bytes = chunk.subarray(0, disk.read(fd, chunk, high - low, low));
    let stop = bytes.length;
    for (
      let at = bytes.lastIndexOf(NEWLINE);
      at >= 0;
      at = at > 0 ? bytes.lastIndexOf(NEWLINE, at - 1) : -1
    ) {
      tail.unshift(Buffer.from(bytes.subarray(at + 1, stop)));
      if (low + at + 1 < to || tail.some((part) => part.length > 0)) yield line();
      tail = [];
      end = low + at + 1;
      stop = at;
      terminated = true;
    }
    tail.unshift(Buffer.from(bytes.subarray(0, stop)));
    high = low;
  }
  if (last === floor && tail.some((part) => part.length > 0)) yield line();
}
