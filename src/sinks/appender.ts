/**
 * Appending lines to files so that each row stands there once.
 *
 * CONSTRAINTS. The cursor lives in state.db, the lines live in files, and no transaction spans both. kill -9 may come
 * between write and commit, inside a write (a torn line), between roll and commit. After a loss of power a file may end
 * earlier than its length said, or in a block of NULs. The disk may be full in the middle of a line. Someone may remove,
 * move, empty or edit a file. fdatasync takes milliseconds to seconds and must not be in the way of a batch.
 *
 * FORMAT. Files have numbers (series.ts), and none is used twice. Each line is a complete JSON object with source,
 * timeline, row id and event id in it, written by plain write(2) on O_APPEND; nothing is kept back in memory. Beside the
 * cursor, in the same transaction, shipping keeps a note:
 *
 *   file, since   which file is written to, and when it was begun
 *   begin         where its first event stands, and the positions per (source, timeline) before it
 *   durable       the same as of the last fdatasync that succeeded
 *   end           the same as of the last batch
 *   found         rows that a recovery found behind `end`, until a later batch of their source shows that shipping has
 *                 passed them; it is told of them at each `open` until then
 *
 * begin ≤ durable ≤ end, all in `file`: a roll makes the old file durable, then the new name, and only then writes.
 *
 * RECOVERY (recovery.ts decides, mender.ts reads and cuts). Lines are read from `durable` on, up to the first that is
 * torn or not ours; the rest of the file is cut off. What was read
 *   - goes past `end`, perhaps into later files: written, but the cursor was not saved. Reported as found, not written again.
 *   - does not reach `end`: lost with the power. The cursors go back to what the last line says.
 * A file shorter than `durable` was cut by hand (or by a disk that lies): read from `begin`, the cursors go back as well.
 * A file that is gone was removed by hand, for its name was durable: the cursors stay. No note: state.db was lost, and the
 * last lines of the files say where to go on (rebuild.ts). After an fdatasync that failed the pages may read well and never
 * reach the medium (the kernel says so once): what stands behind `durable` is cut off and written again.
 *
 * RUNNING. Before each batch the path is compared with the open file (device, inode, length): removed, moved or edited by
 * another hand → a new file. A write that stops half-way is cut back to its last complete line, which stays delivered.
 */
import fs from 'node:fs';
import type { SourceName } from '../audit/event.js';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { type Ground, own, prepareDirectory } from './ground.js';
import { Mender, type MenderOptions } from './mender.js';
import { type Found, formatNote, type Note, type Point, parseNote } from './note.js';
import { advance, positionIn } from './positions.js';
import { confirm, type LogFile } from './recovery.js';
import { mustRoll, type RollRule } from './roll.js';
import type { Resume } from './sink.js';
import { diskTrouble } from './trouble.js';

const ROLL_AGAIN_MS = 1_000;
const NEWLINE = 10;

export interface AppenderOptions extends MenderOptions {
  readonly ground: Ground;
  readonly rule: RollRule;
  /** False where lines are worth nothing after a reboot: a failed fdatasync is then no reason to write them again. */
  readonly distrustFailedSync: boolean;
  readonly clock: () => number;
}

/** What became of a piece of text. */
export interface Appended {
  /** Complete lines that stand in the file. */
  readonly lines: number;
  /** Why it is not all of them; null if it is. */
  readonly error: AuditdError | null;
}

interface Open {
  readonly fd: number;
  readonly file: LogFile;
  readonly path: string;
  readonly dev: bigint;
  readonly ino: bigint;
}

const NOWHERE: Point = { offset: 0, positions: [] };

export class Appender {
  private open: Open | null = null;
  private since = 0;
  private begin = NOWHERE;
  private durable = NOWHERE;
  private end = NOWHERE;
  private found: readonly Found[] = [];
  private syncing: Promise<void> | null = null;
  private syncError: AuditdError | null = null;
  private distrust = false;
  private handedOut = '';
  private rollFailedAt = Number.NEGATIVE_INFINITY;
  private rollComplained = false;
  private rolls = 0;

  private readonly mender: Mender;

  constructor(private readonly options: AppenderOptions) {
    this.mender = new Mender(options);
  }

  /** The file written to, or null. */
  get path(): string | null {
    return this.open?.path ?? null;
  }

  get number(): number | null {
    return this.open?.file.number ?? null;
  }

  get size(): number {
    return this.end.offset;
  }

  /** Bytes that the next power loss may take. */
  get undurable(): number {
    return this.end.offset - this.durable.offset;
  }

  get rolled(): number {
    return this.rolls;
  }

  /** Compares note and files, mends the files, opens the one to go on with. */
  async recover(saved: string | null): Promise<Resume> {
    const { series, ground, disk, log, clock } = this.options;
    await this.letGo();
    const note = saved === null ? null : parseNote(saved);
    if (saved !== null && note === null)
      log.warn('the saved position is not readable; taking it from the files');
    try {
      prepareDirectory(disk, ground, log);
      const files = series.list();
      const plan = this.mender.plan(note, files, this.distrust);
      for (const cut of plan.cuts) this.mender.cut(cut);
      const above = Math.max(note?.file ?? 0, files.at(-1)?.number ?? 0);
      if (plan.current === null) {
        this.end = { offset: 0, positions: plan.positions };
        await this.start(
          above,
          files.every((file) => file.number !== above),
        );
      } else {
        const { number, since, begin, offset } = plan.current;
        const file = files.find((f) => f.number === number);
        if (file === undefined) throw new Error(`no file ${number}`);
        this.hold({ ...file, size: offset });
        this.since = Math.min(since, clock());
        this.begin = begin;
        this.end = { offset, positions: plan.positions };
        this.durable = begin;
        await this.makeDurable();
      }
      this.found = plan.found;
      this.distrust = false;
      await this.attend();
      return { positions: plan.corrections, saved: this.note() };
    } catch (error) {
      this.drop();
      throw diskTrouble('cannot open the log in', ground.directory, error);
    }
  }

  /** Sees that what is open is still what the path leads to, and rolls when it is time. To be called before each batch. */
  async ready(): Promise<void> {
    const { rule, clock, log } = this.options;
    if (this.syncError !== null) throw this.syncError;
    const open = this.held();
    const strange = this.strange(open);
    if (strange !== null) {
      log.warn({ file: open.path }, `${open.path} ${strange}; going on in a new file`);
      await this.sync().catch((error) => log.debug({ err: error }, 'no fdatasync'));
      this.syncError = null;
      this.distrust = false;
      await this.start(open.file.number, strange === GONE);
      await this.attend();
      return;
    }
    const now = clock();
    const empty = this.end.offset === this.begin.offset;
    if (now < this.since || (empty && rule.every !== null)) this.since = now;
    const state = { now, since: this.since, size: this.end.offset, empty };
    if (mustRoll(rule, state) && Math.abs(now - this.rollFailedAt) >= ROLL_AGAIN_MS) await this.roll(now);
  }

  /** Writes `lines` complete lines, each ending in a newline, behind what is there. Never leaves a part of a line that it can cut off. */
  append(text: string, lines: number): Appended {
    const { disk } = this.options;
    const open = this.held();
    const bytes = Buffer.from(text, 'utf8');
    let written = 0;
    try {
      while (written < bytes.length) {
        const length = disk.write(open.fd, bytes, written, bytes.length - written);
        if (length === 0) throw new Error('nothing could be written');
        written += length;
      }
    } catch (cause) {
      const error = diskTrouble('cannot write', open.path, cause);
      const whole = written === 0 ? 0 : bytes.lastIndexOf(NEWLINE, written - 1) + 1;
      try {
        if (written > whole) disk.truncate(open.fd, this.end.offset + whole);
      } catch {
        this.drop(); // `recover` finds the torn line and cuts it off
        throw error;
      }
      this.end = { ...this.end, offset: this.end.offset + whole };
      return { lines: countLines(bytes.subarray(0, whole)), error };
    }
    this.end = { ...this.end, offset: this.end.offset + bytes.length };
    return { lines, error: null };
  }

  /** Before a batch: what stood before its first row is delivered. A later loss never goes further back. */
  expect(source: SourceName, timeline: number, first: number): void {
    if (positionIn(this.end.positions, source, timeline) !== null) return;
    const before = (point: Point): Point => ({
      ...point,
      positions: advance(point.positions, source, timeline, first - 1),
    });
    this.begin = before(this.begin);
    this.durable = before(this.durable);
    this.end = before(this.end);
  }

  /** After `append`: everything up to this row is delivered. */
  advance(source: SourceName, timeline: number, upTo: number): void {
    this.end = { ...this.end, positions: advance(this.end.positions, source, timeline, upTo) };
    if (this.durable.offset === this.end.offset) this.durable = this.end;
    this.found = confirm(this.found, source, timeline, upTo);
  }

  /** The note to keep beside the cursors. */
  note(): string {
    const { begin, durable, end, found } = this;
    const note: Note = { file: this.open?.file.number ?? 0, since: this.since, begin, durable, end, found };
    this.handedOut = formatNote(note);
    return this.handedOut;
  }

  /** Once a second: looks after the files and starts an fdatasync in the background. The note, if it is another one than the last. */
  async tick(): Promise<string | null> {
    await this.ready();
    await this.attend();
    const before = this.handedOut;
    if (this.undurable > 0) this.syncing ??= this.background();
    return this.note() === before ? null : this.handedOut;
  }

  /** Everything written is on the medium when it resolves. */
  async sync(): Promise<void> {
    await this.syncing;
    if (this.undurable > 0) await this.makeDurable();
  }

  async close(): Promise<void> {
    try {
      if (this.open !== null) await this.sync();
    } catch (error) {
      this.options.log.warn({ err: error }, `not all of ${this.path} is on the disk: ${messageOf(error)}`);
    }
    await this.letGo();
  }

  private held(): Open {
    if (this.open !== null) return this.open;
    throw new AuditdError(
      'SINK_FAILED',
      `no file is open in ${this.options.ground.directory}; it is opened at the next attempt.`,
    );
  }

  private hold(file: LogFile): void {
    const { disk, series, ground, log } = this.options;
    const path = series.path(file.number);
    const fd = disk.open(path, fs.constants.O_RDWR | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW);
    try {
      own(disk, fd, ground, ground.mode, log);
      const { dev, ino, size } = disk.entryOf(fd);
      if (size !== file.size)
        throw new Error(`it has ${size} bytes, not ${file.size}: something else writes to it`);
      this.drop();
      this.open = { fd, file, path, dev, ino };
    } catch (error) {
      disk.close(fd);
      throw error;
    }
  }

  /** Goes on in a new file. */
  private async start(above: number, replaces: boolean): Promise<void> {
    const { series, ground, disk, log, clock } = this.options;
    const now = clock();
    try {
      prepareDirectory(disk, ground, log);
      const file = await series.create(above, replaces, now);
      this.hold(file);
      this.since = now;
      this.begin = { offset: file.start, positions: this.end.positions };
      this.durable = this.begin;
      this.end = this.begin;
    } catch (error) {
      throw diskTrouble('cannot begin a new file in', ground.directory, error);
    }
  }

  /** A file that can't be begun (a full disk) is no reason to stop: the old one grows. */
  private async roll(now: number): Promise<void> {
    const { log } = this.options;
    const open = this.held();
    await this.sync();
    try {
      await this.start(open.file.number, false);
      this.rolls++;
      this.rollComplained = false;
    } catch (error) {
      this.rollFailedAt = now;
      if (this.open !== open) throw error;
      if (!this.rollComplained)
        log.warn({ err: error }, `${messageOf(error)} Until then ${open.path} grows.`);
      this.rollComplained = true;
      return;
    }
    await this.attend();
  }

  private async attend(): Promise<void> {
    const { series, log, clock } = this.options;
    try {
      await series.attend(this.held().file, clock());
    } catch (error) {
      log.debug({ err: error }, messageOf(error));
    }
  }

  /** What happened to the file from outside; null if nothing. */
  private strange(open: Open): string | null {
    const entry = this.options.disk.entryAt(open.path);
    if (entry === null || entry.dev !== open.dev || entry.ino !== open.ino) return GONE;
    if (entry.size === this.end.offset) return null;
    return `has ${entry.size} bytes instead of ${this.end.offset}: another hand has changed it`;
  }

  private async makeDurable(): Promise<void> {
    const { disk, distrustFailedSync, log } = this.options;
    const open = this.held();
    const point = this.end;
    try {
      await disk.datasync(open.fd);
      if (this.open === open) this.durable = point.offset === this.end.offset ? this.end : point;
    } catch (cause) {
      const error = diskTrouble('cannot make durable', open.path, cause);
      if (distrustFailedSync) {
        this.distrust = true;
        this.syncError = error;
        throw error;
      }
      log.warn({ err: error }, error.message);
      this.durable = point;
    }
  }

  private async background(): Promise<void> {
    try {
      await this.makeDurable();
    } catch {
      // kept in `syncError`, thrown by the next `ready`
    } finally {
      this.syncing = null;
    }
  }

  private async letGo(): Promise<void> {
    await this.syncing;
    this.syncError = null;
    this.drop();
  }

  private drop(): void {
    const open = this.open;
    this.open = null;
    if (open === null) return;
    try {
      this.options.disk.close(open.fd);
    } catch (error) {
      this.options.log.debug({ code: codeOf(error) }, messageOf(error));
    }
  }
}

const GONE = 'was removed or moved away';

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}
