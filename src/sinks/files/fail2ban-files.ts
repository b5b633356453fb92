import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Disk } from './filesystem.js';
import { type LogDirectory, setOwnership, syncDirectory } from './log-directory.js';
import type { LogFile, LogFileSet } from './log-file-set.js';

/** What fail2ban reads, by these fixed names. */
export const PAIR = ['fail2ban.0.log', 'fail2ban.1.log'] as const;
const FRESH = '.fail2ban.new';
const HEADER_LIMIT = 1_024;
const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = fs.constants;

/**
 * The first line of a file, without its newline. fail2ban takes a file for another one if its inode or the hash of its first line differ
 * (with neither: lines are read twice). The filter does not match it.
 *
 * @param nonce makes it differ from every other header, even with the same number and time
 */
export function formatHeader(number: number, now: number, nonce: string): string {
  return JSON.stringify({
    '@timestamp': new Date(now).toISOString(),
    'log.level': 'info',
    event: { action: 'daemon.log_opened', kind: 'event', category: ['file'], type: ['creation'] },
    message: 'Log opened',
    postern: { log: { number, nonce } },
  });
}

/** Number and time of a header line; null if the text is not a header. */
function parseHeader(text: string): { number: number; since: number } | null {
  try {
    const line = JSON.parse(text) as Record<string, unknown> & {
      event?: { action?: unknown };
      postern?: { log?: { number?: unknown } };
    };
    const number = line.postern?.log?.number;
    const since = Date.parse(String(line['@timestamp']));
    if (line.event?.action !== 'daemon.log_opened' || Number.isNaN(since)) return null;
    return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0
      ? { number, since }
      : null;
  } catch {
    return null;
  }
}

/**
 * Two fixed names that are written to in turn: number N has the name N mod 2, and the higher number is the active one. A new
 * file is created under another name, with its header,, and is renamed over the idle one.
 */
export class FilePair implements LogFileSet {
  private idleSeen = '';

  constructor(
    private readonly location: LogDirectory,
    private readonly disk: Disk,
  ) {}

  path(number: number): string {
    return join(this.location.directory, number % 2 === 0 ? PAIR[0] : PAIR[1]);
  }

  list(): LogFile[] {
    return [this.read(0), this.read(1)].filter((file) => file !== null).sort((a, b) => a.number - b.number);
  }

  /** A file that replaces a lost one gets its name: the other of the pair may not have been read to its end. */
  async create(above: number, replaces: boolean, now: number): Promise<LogFile> {
    return this.put(above + (replaces ? 2 : 1), now);
  }

  /** The idle file must be there: fail2ban does not start without a file that its jail names. */
  async ensureCompanions(current: LogFile, now: number): Promise<void> {
    const slot = (current.number + 1) % 2;
    const entry = this.disk.entryAt(this.path(slot));
    const seen = entry === null ? '' : `${entry.dev}:${entry.ino}:${entry.size}`;
    if (seen !== '' && seen === this.idleSeen) return;
    if (this.read(slot) === null) {
      await this.put(Math.max(current.number - 1, slot), now);
      return;
    }
    this.idleSeen = seen;
  }

  /** Null if there is no file in the slot, or its header is of another slot. */
  private read(slot: number): LogFile | null {
    const path = this.path(slot);
    if (this.disk.entryAt(path)?.kind !== 'file') return null;
    const fd = this.disk.open(path, O_RDONLY | O_NOFOLLOW);
    try {
      const bytes = Buffer.alloc(HEADER_LIMIT);
      const length = this.disk.read(fd, bytes, HEADER_LIMIT, 0);
      const newline = bytes.subarray(0, length).indexOf(10);
      const header = newline < 0 ? null : parseHeader(bytes.toString('utf8', 0, newline));
      if (header === null || header.number % 2 !== slot) return null;
      return { ...header, size: this.disk.entryOf(fd).size, start: newline + 1 };
    } finally {
      this.disk.close(fd);
    }
  }

  private async put(number: number, now: number): Promise<LogFile> {
    const header = Buffer.from(`${formatHeader(number, now, randomBytes(8).toString('hex'))}\n`);
    const fresh = join(this.location.directory, FRESH);
    if (this.disk.entryAt(fresh) !== null) await this.disk.unlink(fresh);
    const fd = this.disk.open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, this.location.mode);
    try {
      setOwnership(this.disk, fd, this.location, this.location.mode);
      for (let written = 0; written < header.length; ) {
        written += this.disk.write(fd, header, written, header.length - written);
      }
      await this.disk.sync(fd);
    } finally {
      this.disk.close(fd);
    }
    this.disk.rename(fresh, this.path(number));
    await syncDirectory(this.disk, this.location.directory);
    return { number, size: header.length, start: header.length, since: now };
  }
}
