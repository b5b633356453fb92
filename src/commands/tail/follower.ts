import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../errors.js';
import { fileName, fileNumber } from '../../sinks/files/numbered-files.js';

const CHUNK = 1 << 20;
const NEWLINE = 0x0a;
/** The daemon writes regular files: a link is not followed, and a pipe is not waited for. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Longer lines are skipped. */
const LONGEST_LINE = 64 << 20;

/**
 * Reads the numbered files of a file sink: the last lines backwards from the end, then new lines, across rotations.
 *
 * The writer starts a file with a higher number and never writes to the old one again. So the names are listed first, and then the
 * current file is read to its end: if a higher number exists, this file is complete.
 */
export class LogFollower {
  private number = 0;
  private offset = 0;

  constructor(private readonly directory: string) {}

  /** Numbers of the files, ascending; none if the directory does not exist. @throws EACCES */
  numbers(): number[] {
    let names: string[];
    try {
      names = readdirSync(this.directory);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
    return names
      .map(fileNumber)
      .filter((number) => number !== null)
      .sort((a, b) => a - b);
  }

  /** Goes to the end of the newest file: `read` returns what follows. */
  toEnd(): void {
    const number = this.numbers().at(-1);
    if (number === undefined) return;
    this.number = number;
    this.offset = this.with(number, (fd, size) => lastLineEnd(fd, size)) ?? 0;
  }

  /** Whole lines before the position of `toEnd`, the newest first. */
  *backwards(): Generator<string> {
    for (const number of this.numbers().reverse()) {
      if (number > this.number) continue;
      let end = number === this.number ? this.offset : Number.POSITIVE_INFINITY;
      let reach = CHUNK;
      for (;;) {
        const piece = this.with(number, (fd, size) => pieceBefore(fd, Math.min(end, size), reach));
        if (piece === null || piece.lines === null) break;
        if (piece.lines.length === 0) {
          reach *= 2; // a line longer than that
          if (reach > LONGEST_LINE) break;
          continue;
        }
        yield* piece.lines.reverse();
        end = piece.start;
        reach = CHUNK;
      }
    }
  }

  /** The whole lines since the last call, at most about a megabyte of them; none if nothing is new. */
  read(): string[] {
    for (;;) {
      const next = this.numbers().find((number) => number > this.number);
      const found = this.number === 0 ? null : this.with(this.number, (fd, size) => this.readOn(fd, size));
      if (found !== null && found.length > 0) return found;
      if (next === undefined) return [];
      this.number = next;
      this.offset = 0;
    }
  }

  private readOn(fd: number, size: number): string[] {
    if (size < this.offset) this.offset = lastLineEnd(fd, size); // lines were taken back, and will be written again
    for (let reach = CHUNK; ; reach *= 2) {
      const bytes = bytesAt(fd, this.offset, Math.min(reach, size - this.offset));
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      if (end > 0) {
        this.offset += end;
        return bytes.toString('utf8', 0, end - 1).split('\n');
      }
      if (bytes.length < reach) return [];
      if (reach >= LONGEST_LINE) this.offset += bytes.length;
    }
  }

  /** Null if the file is gone. */
  private with<T>(number: number, work: (fd: number, size: number) => T): T | null {
    let fd: number;
    try {
      fd = openSync(join(this.directory, fileName(number)), FLAGS);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return null;
      throw error;
    }
    try {
      const entry = fstatSync(fd);
      return entry.isFile() ? work(fd, entry.size) : null;
    } finally {
      closeSync(fd);
    }
  }
}

/** Lines that end at `end`, and where the first of them starts. No lines: `reach` is less than one; null: the file's start. */
function pieceBefore(fd: number, end: number, reach: number): { lines: string[] | null; start: number } {
  if (end <= 0) return { lines: null, start: 0 };
  const from = Math.max(0, end - reach);
  const bytes = bytesAt(fd, from, end - from);
  const last = bytes.lastIndexOf(NEWLINE);
  if (from === 0) {
    return { lines: last < 0 ? null : bytes.toString('utf8', 0, last).split('\n'), start: 0 };
  }
  const first = bytes.indexOf(NEWLINE);
  if (first === last) return { lines: [], start: end };
  return { lines: bytes.toString('utf8', first + 1, last).split('\n'), start: from + first + 1 };
}

/** Behind the last newline: a line that is being written, or was torn, is not whole. */
function lastLineEnd(fd: number, size: number): number {
  for (let end = size; end > 0; end = Math.max(0, end - CHUNK)) {
    const from = Math.max(0, end - CHUNK);
    const at = bytesAt(fd, from, end - from).lastIndexOf(NEWLINE);
    if (at >= 0) return from + at + 1;
  }
  return 0;
}

function bytesAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, bytes, filled, length - filled, offset + filled);
    if (read === 0) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}
