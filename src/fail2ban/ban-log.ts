import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { isIP } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { renewJail, sentence } from '../next-steps.js';

/** A ban or unban that fail2ban has carried out. */
export interface BanEntry {
  /** Milliseconds since the epoch, when the action ran; null if that can't be read. */
  readonly time: number | null;
  readonly event: 'ban' | 'unban';
  /** What was banned: an address, or with `ipv6_prefix` a network. */
  readonly address: string;
  /** Failures that led to the ban; 0 for one made by hand. */
  readonly failures: number;
  readonly jail: string;
  /** Null: for ever. */
  readonly banTimeSeconds: number | null;
}

export interface BansRead {
  readonly entries: readonly BanEntry[];
  /** The position to resume from. It is committed together with the results of the entries. Null as long as the file does not exist. */
  readonly saved: string | null;
  /** Number of unreadable lines, which were skipped. */
  readonly bad: number;
  /** The beginning of the first of these. */
  readonly badLine: string | null;
  /** True if the file has more than this call has read. */
  readonly more: boolean;
}

/** `check` is a hash of the bytes before `offset`: a truncated and refilled file, or a new one in an old inode, differs. */
interface Position {
  readonly inode: number;
  readonly offset: number;
  readonly check: string;
  /** True in the middle of a line that is too long for a report. */
  readonly skipping: boolean;
}

const CHECKED = 128;
/** Characters of an unreadable line that are shown. */
const SHOWN = 200;
const START = { offset: 0, check: '', skipping: false };

/**
 * Reads what fail2ban's report action has appended since `saved`.
 *
 * A rotated file is read to its end first, as long as it is in the same directory and not compressed. A truncated or replaced
 * file is read from its start, a copy of the file from where the original was read to. A last line without its newline is left for the next call.
 *
 * @param path bans.log
 * @param saved the note of the last call; null reads from the beginning
 * @param limit bytes read at most; bounds the memory
 * @throws AuditdError FAIL2BAN_FAILED if the file exists and can't be read
 */
export function readBans(path: string, saved: string | null, limit = 256 * 1024): BansRead {
  const before = parsePosition(saved);
  const nothing: BansRead = { entries: [], saved, bad: 0, badLine: null, more: false };
  const file = openRegular(path);
  try {
    if (before !== null && !(file !== null && isSame(file, before))) {
      const rest = readRotated(path, before, limit);
      if (rest !== null && (rest.entries.length > 0 || rest.bad > 0 || rest.more))
        return { ...rest, more: true };
    }
    if (file === null) return nothing;
    if (before !== null && (isSame(file, before) || isCopy(file, before)))
      return readFrom(file, before, limit);
    const read = readFrom(file, { inode: file.stats.ino, ...START }, limit);
    // The empty beginning of a file could be that of any other: the end of the one before says more.
    const isBegun = read.entries.length > 0 || read.bad > 0 || read.more;
    return isBegun || before === null ? read : nothing;
  } finally {
    if (file !== null) closeSync(file.descriptor);
  }
}

/** Reads the end of the file, independently of the saved position. @throws AuditdError as readBans does */
export function readLastBans(path: string, bytes: number): Pick<BansRead, 'entries' | 'bad' | 'badLine'> {
  const file = openRegular(path);
  if (file === null) return { entries: [], bad: 0, badLine: null };
  try {
    const offset = Math.max(0, file.stats.size - bytes);
    // The text before the first newline is the rest of a line.
    return readFrom(file, { inode: file.stats.ino, offset, check: '', skipping: offset > 0 }, bytes);
  } finally {
    closeSync(file.descriptor);
  }
}

interface Opened {
  readonly descriptor: number;
  readonly stats: Stats;
}

function openRegular(path: string): Opened | null {
  let descriptor: number;
  try {
    // Not through a symbolic link, and without waiting for the writer of a FIFO.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw unreadable(path, messageOf(error), error);
  }
  const stats = fstatSync(descriptor);
  if (stats.isFile()) return { descriptor, stats };
  closeSync(descriptor);
  throw unreadable(path, 'not a regular file');
}

function unreadable(path: string, why: string, cause?: unknown): AuditdError {
  return new AuditdError('FAIL2BAN_FAILED', `${path} can't be read, so bans are not recorded: ${why}`, {
    next: `${sentence(renewJail())}: the file belongs to root with mode 0644, in a directory of root with mode 0755`,
    cause,
  });
}

/** Reads the rest of the rotated file, whatever its new name is, or of a copy of it; null if it was removed. */
function readRotated(path: string, before: Position, limit: number): BansRead | null {
  const rotated = namesIn(dirname(path))
    .filter((name) => name.startsWith(basename(path)) && name !== basename(path))
    .map((name) => join(dirname(path), name));
  const inodeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.ino;
  for (const file of rotated) {
    if (inodeOf(file) !== before.inode) continue;
    const read = readIf(isSame, file, before, limit);
    if (read !== null) return read;
  }
  for (const file of rotated) {
    try {
      const read = readIf(isCopy, file, before, limit);
      if (read !== null) return read;
    } catch {
      // Of all files of that name, so it need not be one of ours.
    }
  }
  return null;
}

function readIf(
  isWanted: (file: Opened, before: Position) => boolean,
  path: string,
  before: Position,
  limit: number,
): BansRead | null {
  const file = openRegular(path);
  if (file === null) return null;
  try {
    return isWanted(file, before) ? readFrom(file, before, limit) : null;
  } finally {
    closeSync(file.descriptor);
  }
}

function isSame(file: Opened, before: Position): boolean {
  return file.stats.ino === before.inode && isWhereWeWere(file, before);
}

/** The same bytes in another inode: the file comes from a backup, or from another host. */
function isCopy(file: Opened, before: Position): boolean {
  return before.offset > 0 && isWhereWeWere(file, before);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isWhereWeWere(file: Opened, before: Position): boolean {
  return file.stats.size >= before.offset && checkAt(file.descriptor, before.offset) === before.check;
}

function checkAt(descriptor: number, offset: number): string {
  if (offset === 0) return '';
  const from = Math.max(0, offset - CHECKED);
  return createHash('sha256')
    .update(readAt(descriptor, from, offset - from))
    .digest('hex')
    .slice(0, 16);
}

function readAt(descriptor: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const n = readSync(descriptor, bytes, filled, length - filled, offset + filled);
    if (n === 0) break;
    filled += n;
  }
  return bytes.subarray(0, filled);
}

function readFrom(file: Opened, from: Position, limit: number): BansRead {
  const bytes = readAt(file.descriptor, from.offset, Math.min(limit, file.stats.size - from.offset));
  const end = bytes.lastIndexOf(0x0a) + 1;
  const full = bytes.length === limit;
  let { skipping } = from;
  let bad = 0;
  let badLine: string | null = null;
  const refuse = (line: string) => {
    bad++;
    badLine ??= line.slice(0, SHOWN);
  };
  const entries: BanEntry[] = [];
  const lines = end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n');
  for (const line of lines) {
    const entry = skipping ? null : parseBan(line);
    if (entry !== null) entries.push(entry);
    else if (!skipping) refuse(line);
    skipping = false;
  }
  let read = end;
  if (end === 0 && full) {
    // The block has no newline: its line is counted once and skipped up to the next newline.
    read = bytes.length;
    if (!skipping) refuse(bytes.toString('utf8', 0, SHOWN));
    skipping = true;
  }
  const offset = from.offset + read;
  const position = { inode: file.stats.ino, offset, check: checkAt(file.descriptor, offset), skipping };
  return { entries, saved: JSON.stringify(position), bad, badLine, more: full };
}

/** Parses a line of bans.log. A report that directly follows a torn line is still found. */
export function parseBan(line: string): BanEntry | null {
  const start = line.lastIndexOf('{"time":');
  if (start === -1) return null;
  let value: unknown;
  try {
    value = JSON.parse(line.slice(start));
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { time, event, ip, failures, jail, bantime } = value as Record<string, unknown>;
  if (typeof time !== 'string' || (event !== 'ban' && event !== 'unban') || typeof jail !== 'string')
    return null;
  if (typeof ip !== 'string' || !isBannable(ip) || !isCount(failures) || !Number.isInteger(bantime))
    return null;
  const banTimeSeconds = Number(bantime) < 0 ? null : Number(bantime);
  return { time: timeOf(time), event, address: ip, failures, jail, banTimeSeconds };
}

/** Busybox's date does not know `%3N`, which an earlier version of the action used: `2026-11-22T20:21:00.%3NZ`. */
function timeOf(text: string): number | null {
  const time = Date.parse(text.replace('.%3N', ''));
  return Number.isNaN(time) ? null : time;
}

function isBannable(text: string): boolean {
  const [address = '', prefix] = text.split('/');
  return isIP(address) !== 0 && (prefix === undefined || /^\d{1,3}$/.test(prefix));
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0;
}

function parsePosition(saved: string | null): Position | null {
  if (saved === null) return null;
  try {
    const { inode, offset, check, skipping } = JSON.parse(saved) as Partial<Position>;
    if (isCount(inode) && isCount(offset) && typeof check === 'string') {
      return { inode, offset, check, skipping: skipping === true };
    }
  } catch {
    // An unreadable position counts as none: the file is read from its start.
  }
  return null;
}
