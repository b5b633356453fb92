import fs from 'node:fs';
import type { Logger } from 'pino';
import type { FilePosition } from './file-position.js';
import type { Disk } from './filesystem.js';
import type { LogFile, LogFileSet } from './log-file-set.js';
import { type Line, linesBefore, linesFrom, type ParseLine } from './read-lines.js';
import { type Cut, planEnd, planRebuild, planRecovery, type RecoveryPlan } from './recovery.js';

/** How far a rebuild reads back for Postern's last row. */
const LOOK_BACK = 64 * 2 ** 20;
const EXCERPT = 120;
const NEWLINE = 10;
const { O_NOFOLLOW, O_RDONLY, O_RDWR } = fs.constants;

export interface FileRepairOptions {
  readonly fileSet: LogFileSet;
  readonly parse: ParseLine;
  readonly disk: Disk;
  readonly log: Logger;
  /** No position and no cursor is saved: files continue after their last line, and `Appender.backwards` reads their content. */
  readonly stateless?: boolean;
}

/** Reads for the plans of recovery.ts, and truncates as they say. */
export class FileRepair {
  constructor(private readonly options: FileRepairOptions) {}

  /** @param distrust true if nothing after the durable point counts */
  plan(note: FilePosition | null, files: readonly LogFile[], distrust: boolean): RecoveryPlan {
    if (note !== null) {
      const contents = {
        beginsLine: (file: LogFile, offset: number) => this.beginsLine(file, offset),
        linesFrom: (file: LogFile, offset: number) => this.linesFrom(file, offset),
      };
      return planRecovery(note, files, contents, distrust);
    }
    let limit = LOOK_BACK;
    const plan = this.options.stateless === true ? planEnd : planRebuild;
    return plan(files, (file) => {
      const lines = this.linesBefore(file, limit);
      limit = Math.max(0, limit - file.size);
      return lines;
    });
  }

  /** The lines of all files, the last first; null for an invalid line. */
  *backwards<P>(parse: (text: string) => P | null): Generator<P | null> {
    const { disk, fileSet } = this.options;
    let limit = LOOK_BACK;
    for (const file of fileSet.list().toReversed()) {
      const fd = disk.open(fileSet.path(file.number), O_RDONLY | O_NOFOLLOW);
      try {
        for (const line of linesBefore(disk, fd, file.size, file.start, parse, limit))
          yield line?.position ?? null;
      } finally {
        disk.close(fd);
      }
      limit = Math.max(0, limit - file.size);
    }
  }

  cut({ number, at, bytes }: Cut): void {
    const { disk, fileSet, log } = this.options;
    const file = fileSet.path(number);
    const fd = disk.open(file, O_RDWR | O_NOFOLLOW);
    try {
      const start = Buffer.alloc(Math.min(bytes, EXCERPT));
      const text = start.toString('utf8', 0, disk.read(fd, start, start.length, at));
      log.warn(
        { file, at, bytes, text },
        `removed ${bytes} bytes at the end of ${file}: not a complete line`,
      );
      disk.truncate(fd, at);
    } finally {
      disk.close(fd);
    }
  }

  /** What a file holds is on the medium when it resolves. */
  async makeDurable(file: LogFile): Promise<void> {
    const { disk, fileSet } = this.options;
    const fd = disk.open(fileSet.path(file.number), O_RDWR | O_NOFOLLOW);
    try {
      await disk.datasync(fd);
    } finally {
      disk.close(fd);
    }
  }

  private beginsLine(file: LogFile, offset: number): boolean {
    if (offset <= file.start) return offset === file.start;
    const { disk, fileSet } = this.options;
    const fd = disk.open(fileSet.path(file.number), O_RDONLY | O_NOFOLLOW);
    try {
      const before = Buffer.alloc(1);
      return disk.read(fd, before, 1, offset - 1) === 1 && before[0] === NEWLINE;
    } finally {
      disk.close(fd);
    }
  }

  private *linesFrom(file: LogFile, offset: number): Generator<Line> {
    const { disk, fileSet, parse } = this.options;
    const fd = disk.open(fileSet.path(file.number), O_RDONLY | O_NOFOLLOW);
    try {
      yield* linesFrom(disk, fd, offset, parse);
    } finally {
      disk.close(fd);
    }
  }

  private *linesBefore(file: LogFile, limit: number): Generator<Line | null> {
    const { disk, fileSet, parse } = this.options;
    const fd = disk.open(fileSet.path(file.number), O_RDONLY | O_NOFOLLOW);
    try {
      yield* linesBefore(disk, fd, file.size, file.start, parse, limit);
    } finally {
      disk.close(fd);
    }
  }
}
