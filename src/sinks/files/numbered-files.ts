import fs from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { codeOf } from '../../errors.js';
import type { Disk } from './filesystem.js';
import { type LogDirectory, setOwnership, syncDirectory } from './log-directory.js';
import type { LogFile, LogFileSet } from './log-file-set.js';
import { surplus } from './rotation.js';

/** The link to the newest file. */
export const LINK = 'current.log';
const NAME = /^audit\.(\d{8,15})\.log$/;
const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;

/** `audit.00000042.log`: eight digits, so that names sort as numbers do. */
export function fileName(number: number): string {
  return `audit.${String(number).padStart(8, '0')}.log`;
}

/** The number in a file's name; null for another name. */
export function fileNumber(name: string): number | null {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined || fileName(Number(digits)) !== name ? null : Number(digits);
}

/** `audit.N.log`, the newest by the link `current.log`, the oldest removed. */
export class NumberedFiles implements LogFileSet {
  private linked: string | null = null;

  constructor(
    private readonly location: LogDirectory,
    private readonly disk: Disk,
    private readonly log: Logger,
  ) {}

  path(number: number): string {
    return join(this.location.directory, fileName(number));
  }

  list(): LogFile[] {
    const files: LogFile[] = [];
    for (const number of this.numbers()) {
      const entry = this.disk.entryAt(this.path(number));
      if (entry?.kind === 'file') files.push({ number, size: entry.size, start: 0, since: entry.modified });
    }
    return files;
  }

  async create(above: number): Promise<LogFile> {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW;
    for (let number = Math.max(above, this.numbers().at(-1) ?? 0) + 1; ; number++) {
      try {
        const fd = this.disk.open(this.path(number), flags, this.location.mode);
        try {
          setOwnership(this.disk, fd, this.location, this.location.mode);
        } finally {
          this.disk.close(fd);
        }
      } catch (error) {
        if (codeOf(error) === 'EEXIST') continue;
        throw error;
      }
      await syncDirectory(this.disk, this.location.directory);
      return { number, size: 0, start: 0, since: 0 };
    }
  }

  /** Replaces the link atomically. Anything else of that name is left as it is; `check` reports it. */
  async ensureCompanions(current: LogFile): Promise<void> {
    const target = fileName(current.number);
    const path = join(this.location.directory, LINK);
    const entry = this.disk.entryAt(path);
    if (entry !== null && entry.kind !== 'link') return;
    if (entry !== null && (this.linked === target || this.disk.linkTarget(path) === target)) return;
    const fresh = join(this.location.directory, '.current.new');
    if (this.disk.entryAt(fresh) !== null) await this.disk.unlink(fresh);
    this.disk.link(target, fresh);
    this.disk.rename(fresh, path);
    this.linked = target;
  }

  /** Removes all but the newest `keep` files; returns how many. */
  async prune(keep: number): Promise<number> {
    const old = surplus(
      this.list().map((file) => file.number),
      keep,
    );
    for (const number of old) await this.remove(number);
    return old.length;
  }

  /** Removes the oldest file, unless it is the last; false if nothing could be removed. */
  async pruneOldest(current: number): Promise<boolean> {
    const oldest = this.list()[0];
    if (oldest === undefined || oldest.number >= current) return false;
    this.log.warn(
      { file: this.path(oldest.number) },
      `removing ${this.path(oldest.number)}: the disk is nearly full`,
    );
    await this.remove(oldest.number);
    return true;
  }

  /** Numbers in use, by entries of any type. */
  private numbers(): number[] {
    return this.disk
      .names(this.location.directory)
      .map(fileNumber)
      .filter((number) => number !== null)
      .sort((a, b) => a - b);
  }

  private async remove(number: number): Promise<void> {
    try {
      await this.disk.unlink(this.path(number));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
}
