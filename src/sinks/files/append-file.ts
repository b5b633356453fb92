import fs from 'node:fs';
import { messageOf } from '../../errors.js';
import type { Disk } from './filesystem.js';
import { type LogDirectory, setOwnership } from './log-directory.js';
import type { LogFile } from './log-file-set.js';

const NEWLINE = 10;
const FLAGS = fs.constants.O_RDWR | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW;

/** The result of a write. */
export interface Written {
  /** Bytes of complete lines that are in the file now. */
  readonly bytes: number;
  readonly lines: number;
  /** Why that is not all; null if it is. */
  readonly error: unknown;
  /** True if a partial line follows them that could not be truncated. */
  readonly torn: boolean;
}

/** The file that is open for appending. */
export class AppendFile {
  private readonly fd: number;
  private readonly dev: bigint;
  private readonly ino: bigint;

  /** @param file with the size that it must have */
  constructor(
    private readonly disk: Disk,
    readonly file: LogFile,
    readonly path: string,
    location: LogDirectory,
  ) {
    this.fd = disk.open(path, FLAGS);
    try {
      setOwnership(disk, this.fd, location, location.mode);
      const { dev, ino, size } = disk.entryOf(this.fd);
      if (size !== file.size)
        throw new Error(`it has ${size} bytes, not ${file.size}: something else writes to it`);
      this.dev = dev;
      this.ino = ino;
    } catch (error) {
      disk.close(this.fd);
      throw error;
    }
  }

  /** Appends `lines` lines to a file of `size` bytes; truncates an incomplete line again. */
  write(all: Buffer, lines: number, size: number): Written {
    let written = 0;
    try {
      while (written < all.length) {
        const length = this.disk.write(this.fd, all, written, all.length - written);
        if (length === 0) throw new Error('nothing could be written');
        written += length;
      }
      return { bytes: written, lines, error: null, torn: false };
    } catch (error) {
      const bytes = written === 0 ? 0 : all.lastIndexOf(NEWLINE, written - 1) + 1;
      const torn = written > bytes && !this.truncate(size + bytes);
      return { bytes, lines: countLines(all.subarray(0, bytes)), error, torn };
    }
  }

  /** What another program did to the path: `gone` if it leads to another file, `changed` if the length differs, null if nothing. */
  detectTampering(size: number): 'gone' | 'changed' | null {
    const entry = this.disk.entryAt(this.path);
    if (entry === null || entry.dev !== this.dev || entry.ino !== this.ino) return 'gone';
    return entry.size === size ? null : 'changed';
  }

  async datasync(): Promise<void> {
    await this.disk.datasync(this.fd);
  }

  /** Returns what went wrong, or null. */
  close(): string | null {
    try {
      this.disk.close(this.fd);
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  private truncate(size: number): boolean {
    try {
      this.disk.truncate(this.fd, size);
      return true;
    } catch {
      return false;
    }
  }
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}
