/**
 * Appends lines to files so that each row is there once.
 *
 * CONSTRAINTS. The cursor lives in state.db, the lines live in files, and no transaction spans both. kill -9 may come
 * between write and commit, inside a write (a torn line), between roll and commit. After a loss of power a file may end
 * earlier than its length said, or in a block of NULs. The disk may be full in the middle of a line. Someone may remove,
 * move, empty or edit a file. fdatasync takes milliseconds to seconds and must not be in the way of a batch.
 *
 * FORMAT. Files have numbers (log-file-set.ts), and none is used twice. Each line is a complete JSON object with source,
 * timeline, row id and event id in it, written by plain write(2) on O_APPEND; nothing is held back in memory. Beside the
 * cursor, in the same transaction, shipping saves a position:
 *
 *   file, since   which file is written to, and when it was begun
 *   begin         where its first event begins, and the positions per (source, timeline) before it
 *   durable       the same as of the last fdatasync that succeeded
 *   end           the same as of the last batch
 *   found         rows that a recovery found behind `end`, until a later batch of their source shows that shipping has
 *                 passed them; each `open` reports them until then
 *
 * begin ≤ durable ≤ end, all in `file`: a roll makes the old file durable, then the new name, and only then writes.
 *
 * RECOVERY (recovery.ts decides, repair.ts reads and cuts). Lines are read from `durable` on, up to the first that is
 * torn or not ours; the rest of the file is cut off. What was read
 *   - goes past `end`, perhaps into later files: written, but the cursor was not saved. Reported as found, not written again.
 *   - does not reach `end`: lost with the power. The cursors go back to what the last line says.
 * A file shorter than `durable` was cut by hand (or by a disk that lies): read from `begin`, the cursors go back as well.
 * A file that is gone was removed by hand, for its name was durable: the cursors stay. No saved position: state.db was lost, and the
 * last lines of the files say where to resume (planRebuild). After an fdatasync that failed the pages may read well and never
 * reach the medium (the kernel says so once): everything after `durable` is truncated and written again.
 *
 * RUNNING. Before each batch the path is compared with the open file (device, inode, length): removed, moved or edited by
 * another program → a new file. A write that stops half-way is cut back to its last complete line, which stays delivered.
 */
import type { SourceName } from '../../audit/event.js';
import { AuditdError, messageOf } from '../../errors.js';
import type { Corrections } from '../sink.js';
import { AppendFile } from './append-file.js';
import { diskError } from './disk-error.js';
import { Durability, type DurabilityOptions } from './durability.js';
import {
  type FilePosition,
  formatFilePosition,
  isSamePosition,
  parseFilePosition,
  WriteProgress,
} from './file-position.js';
import type { LineBuffer } from './line-buffer.js';
import { type LogDirectory, prepareDirectory } from './log-directory.js';
import type { RecoveryPlan } from './recovery.js';
import { FileRepair, type FileRepairOptions } from './repair.js';
import { mustRoll, type RollRule } from './rotation.js';

const ROLL_AGAIN_MS = 1_000;
/** What is written is on the medium so soon after it. */
export const SYNC_PERIOD_MS = 1_000;
/** While nothing is written, the files are looked after this often. */
const IDLE_PERIOD_MS = 5_000;

export interface AppenderOptions extends FileRepairOptions, DurabilityOptions {
  readonly location: LogDirectory;
  readonly rule: RollRule;
  readonly clock: () => number;
}

/** The result of writing lines. */
export interface Appended {
  /** Complete lines that are in the file. */
  readonly lines: number;
  /** Why it is not all of them; null if it is. */
  readonly error: AuditdError | null;
}

export class Appender {
  private readonly repair: FileRepair;
  private readonly durability: Durability;
  private readonly progress = new WriteProgress();
  private handle: AppendFile | null = null;
  private since = 0;
  private lastSaved: FilePosition | null = null;
  private rollFailedAt = Number.NEGATIVE_INFINITY;
  private rollComplained = false;
  private rolls = 0;

  constructor(private readonly options: AppenderOptions) {
    this.repair = new FileRepair(options);
    this.durability = new Durability(options);
  }

  /** The file written to, or null. */
  get path(): string | null {
    return this.handle?.path ?? null;
  }

  /** Its number, or 0. */
  get number(): number {
    return this.handle?.file.number ?? 0;
  }

  get size(): number {
    return this.progress.size;
  }

  /** Bytes that a power loss may undo. */
  get undurable(): number {
    return this.progress.undurable;
  }

  get rolled(): number {
    return this.rolls;
  }

  /** Compares the saved position with the files, repairs the files, opens the one to continue. */
  async recover(saved: string | null): Promise<Corrections> {
    const { fileSet, location, disk, log } = this.options;
    await this.closeFile();
    try {
      prepareDirectory(disk, location);
      const note = saved === null ? null : parseFilePosition(saved);
      const files = fileSet.list();
      const plan = this.repair.plan(note, files, this.durability.distrusted);
      for (const cut of plan.cuts) this.repair.cut(cut);
      // The new position names only the file to continue; after a roll that failed half-way, lines may be in others.
      const left = files.filter(
        (file) => note !== null && file.number >= note.file && file !== plan.current?.file,
      );
      for (const file of left) await this.repair.makeDurable(file);
      const numbers = files.map((file) => file.number);
      const above = Math.max(note?.file ?? 0, ...numbers);
      await (plan.current === null
        ? this.startFile(above, !numbers.includes(above), plan.positions)
        : this.resumeFile(plan.current, plan.positions));
      this.progress.remember(plan.found);
      this.durability.resetTrust();
      await this.ensureCompanions();
      const { corrections: positions } = plan;
      if (plan.lost)
        log.warn({ positions }, 'lines were missing at the end of the log; they are written again');
      else if (note === null && files.length > 0 && this.options.stateless !== true) {
        log.warn(
          { positions },
          'no readable saved position: the sink resumes behind the last lines of the log',
        );
      }
      return { positions, saved: this.savedPosition() };
    } catch (error) {
      this.drop();
      throw diskError('cannot open the log in', location.directory, error);
    }
  }

  /** The lines of all files, the last first; null for an invalid line. Call it after `recover`, which truncates torn lines. */
  backwards<P>(parse: (text: string) => P | null): Generator<P | null> {
    return this.repair.backwards(parse);
  }

  /** Checks that the path still leads to the open file, and rolls when it is time. To be called before each batch. */
  async ready(): Promise<void> {
    const { rule, clock, log } = this.options;
    this.durability.rethrow();
    const handle = this.requireOpenFile();
    const strange = this.detectTampering(handle);
    if (strange !== null) {
      const what = strange === 'gone' ? 'was removed or moved away' : 'was changed by another program';
      log.warn({ file: handle.path }, `${handle.path} ${what}; continuing in a new file`);
      await this.durability.finishSync(handle, this.progress).catch((error) => log.debug(messageOf(error)));
      this.durability.resetTrust();
      await this.startFile(handle.file.number, strange === 'gone');
      await this.ensureCompanions();
      return;
    }
    const now = clock();
    const { size, empty } = this.progress;
    if (now < this.since || (empty && rule.every !== null)) this.since = now;
    if (!mustRoll(rule, { now, since: this.since, size, empty })) return;
    if (Math.abs(now - this.rollFailedAt) >= ROLL_AGAIN_MS) await this.roll(now);
  }

  /** Appends lines. Never leaves part of a line that it can truncate. */
  append({ bytes, lines }: Pick<LineBuffer, 'bytes' | 'lines'>): Appended {
    const handle = this.requireOpenFile();
    const written = handle.write(bytes, lines, this.progress.size);
    if (written.error === null) {
      this.progress.wrote(written.bytes);
      return { lines, error: null };
    }
    const error = diskError('cannot write', handle.path, written.error);
    if (written.torn) {
      this.drop(); // `recover` finds the torn line and cuts it off
      throw error;
    }
    this.progress.wrote(written.bytes);
    return { lines: written.lines, error };
  }

  /** Before a batch, with its first row: everything before that is delivered. */
  beginBatch(source: SourceName, timeline: number, first: number): void {
    this.progress.beginBatch(source, timeline, first);
  }

  /** After `append`: everything up to this row is delivered. */
  advance(source: SourceName, timeline: number, upTo: number): void {
    this.progress.advance(source, timeline, upTo);
  }

  /** The position to save beside the cursors. */
  savedPosition(): string {
    this.lastSaved = this.progress.position(this.number, this.since);
    return formatFilePosition(this.lastSaved);
  }

  /** Milliseconds until `tick` is due again. */
  tickPeriod(): number {
    return this.undurable > 0 ? SYNC_PERIOD_MS : IDLE_PERIOD_MS;
  }

  /** Each `tickPeriod`: looks after the files, starts an fdatasync in the background. Returns the position if it has changed. */
  async tick(): Promise<string | null> {
    await this.ready();
    await this.ensureCompanions();
    this.durability.startSync(this.requireOpenFile(), this.progress);
    const now = this.progress.position(this.number, this.since);
    return this.lastSaved !== null && isSamePosition(now, this.lastSaved) ? null : this.savedPosition();
  }

  async close(): Promise<void> {
    try {
      if (this.handle !== null) await this.durability.finishSync(this.handle, this.progress);
    } catch (error) {
      this.options.log.warn({ err: error }, `not all of ${this.path} is on the disk: ${messageOf(error)}`);
    }
    await this.closeFile();
  }

  private requireOpenFile(): AppendFile {
    if (this.handle !== null) return this.handle;
    const { directory } = this.options.location;
    throw new AuditdError('SINK_FAILED', `no file is open in ${directory}`, {
      next: 'The next attempt opens it',
    });
  }

  private detectTampering(handle: AppendFile): 'gone' | 'changed' | null {
    try {
      return handle.detectTampering(this.progress.size);
    } catch (error) {
      throw diskError('cannot check', handle.path, error);
    }
  }

  /** Continues an existing file. */
  private async resumeFile(
    current: NonNullable<RecoveryPlan['current']>,
    positions: RecoveryPlan['positions'],
  ): Promise<void> {
    const { fileSet, location, disk, clock } = this.options;
    const { file, since, begin, offset } = current;
    this.handle = new AppendFile(disk, { ...file, size: offset }, fileSet.path(file.number), location);
    this.since = Math.min(since, clock());
    this.progress.resume(begin, { offset, positions });
    await this.durability.datasync(this.handle, this.progress);
  }

  /** Continues in a new file. */
  private async startFile(
    above: number,
    replaces: boolean,
    positions?: RecoveryPlan['positions'],
  ): Promise<void> {
    const { fileSet, location, disk, clock } = this.options;
    const now = clock();
    try {
      prepareDirectory(disk, location);
      const file = await fileSet.create(above, replaces, now);
      const handle = new AppendFile(disk, file, fileSet.path(file.number), location);
      this.drop();
      this.handle = handle;
      this.since = now;
      this.progress.startFile(file.start, positions);
    } catch (error) {
      throw diskError('cannot begin a new file in', location.directory, error);
    }
  }

  /** A file that can't be created (a full disk) does not stop the sink: the old one grows. */
  private async roll(now: number): Promise<void> {
    const { log } = this.options;
    const handle = this.requireOpenFile();
    await this.durability.finishSync(handle, this.progress);
    try {
      await this.startFile(handle.file.number, false);
    } catch (error) {
      this.rollFailedAt = now;
      if (!this.rollComplained)
        log.warn({ err: error }, `${messageOf(error)}. Until then ${handle.path} grows`);
      this.rollComplained = true;
      return;
    }
    this.rolls++;
    this.rollComplained = false;
    await this.ensureCompanions();
  }

  private async ensureCompanions(): Promise<void> {
    const { fileSet, log, clock } = this.options;
    try {
      await fileSet.ensureCompanions(this.requireOpenFile().file, clock());
    } catch (error) {
      log.debug({ err: error }, messageOf(error));
    }
  }

  private async closeFile(): Promise<void> {
    await this.durability.waitForSync();
    this.drop();
  }

  private drop(): void {
    const error = this.handle?.close() ?? null;
    this.handle = null;
    if (error !== null) this.options.log.debug(`close: ${error}`);
  }
}
