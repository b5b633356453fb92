import type { AuditEvent } from '../../audit/event.js';
import type { FileSinkConfig } from '../../config/schema.js';
import { AuditdError } from '../../errors.js';
import { bodies } from '../../formats/body-formats.js';
import { formatEcs } from '../../formats/ecs.js';
import { parseEcsPosition } from '../../formats/ecs-position.js';
import { writeEcs } from '../../formats/ecs-writer.js';
import { lastLine } from '../../formats/format-fallback.js';
import { fitBody } from '../../formats/shrink-to-size.js';
import { fitsUtf8 } from '../../formats/utf8.js';
import { FormatFailures } from '../format-failures.js';
import type { Encoder } from '../messages.js';
import { advancedPositions } from '../positions.js';
import type {
  Corrections,
  Delivered,
  Finding,
  MessageBatch,
  MessageSink,
  ResumePosition,
  SinkDeps,
  SinkFigures,
} from '../sink.js';
import { Appender, SYNC_PERIOD_MS } from './appender.js';
import { checkDirectory } from './check-directory.js';
import { diskError } from './disk-error.js';
import { parseFilePosition } from './file-position.js';
import { type Disk, realDisk } from './filesystem.js';
import { FreeSpace } from './free-space.js';
import { fileNumber, LINK, NumberedFiles } from './numbered-files.js';

/** Tests pass a disk that fails. */
export interface FileSinkDeps extends SinkDeps {
  readonly disk?: Disk;
}

/** Bytes of one write: with fewer the calls cost, with more nothing is gained. */
const WRITE = 1 << 20;

/**
 * Every event as a line of ECS JSON in `audit.N.log`, rolled by size and time. Exactly once across a crash of the process, at
 * least once across a power loss; appender.ts explains how.
 */
export function createFileSink(config: FileSinkConfig, deps: FileSinkDeps): MessageSink {
  return new FileSink(config, deps);
}

/** A line of ECS, of at most so many bytes. */
function encoderOf(most: number): Encoder {
  const line = (event: AuditEvent): string => {
    const text = formatEcs(event);
    return fitsUtf8(text, most) ? text : fitBody(event, most, bodies.ecs, {});
  };
  const write = (event: AuditEvent, into: Buffer, start: number): number => {
    const end = writeEcs(event, into, start);
    return end - start <= most ? end : -1;
  };
  return { key: `file ${most}`, format: Object.assign(line, { write }), last: lastLine, end: '\n' };
}

class FileSink implements MessageSink {
  readonly deliveryClass = 'exactly once';
  readonly encoder: Encoder;
  private readonly disk: Disk;
  private readonly files: NumberedFiles;
  private readonly appender: Appender;
  private readonly space: FreeSpace;
  private readonly unformatted: FormatFailures;
  private pruneDue: boolean = true;
  private rolled = 0;
  private written = 0;
  private bytes = 0;
  private pruned = 0;
  private paused = false;

  constructor(
    private readonly config: FileSinkConfig,
    private readonly deps: FileSinkDeps,
  ) {
    const { clock, log, minFree } = deps;
    const location = { directory: config.directory, mode: config.mode, group: config.group };
    this.disk = deps.disk ?? realDisk;
    this.encoder = encoderOf(config.max_line_size);
    this.unformatted = new FormatFailures(log, 'ecs');
    this.files = new NumberedFiles(location, this.disk, log);
    this.space = new FreeSpace(this.disk, config.directory, minFree);
    this.appender = new Appender({
      fileSet: this.files,
      location,
      rule: { size: config.roll.size, every: config.roll.every, rest: 0 },
      parse: parseEcsPosition,
      distrustFailedSync: true,
      disk: this.disk,
      clock,
      log,
    });
  }

  async open(saved: string | null): Promise<Corrections | null> {
    this.pruneDue = true;
    return this.appender.recover(saved);
  }

  async deliver(batch: MessageBatch, signal: AbortSignal): Promise<Delivered> {
    signal.throwIfAborted();
    await this.prepare();
    const { source, timeline, messages, upTo } = batch;
    this.appender.beginBatch(source, timeline, messages.sequences[0] ?? upTo);
    for (let first = 0; first < messages.length; ) {
      const next = this.write(batch, first);
      if (typeof next !== 'number') return next;
      first = next;
    }
    this.unformatted.noteIn(messages, messages.length);
    this.appender.advance(source, timeline, upTo);
    return { upTo, saved: this.appender.savedPosition() };
  }

  async tick(): Promise<string | null> {
    await this.prune();
    const note = await this.appender.tick();
    this.noticeRoll();
    await this.makeRoom(); // others may fill the disk while nothing is delivered
    return note;
  }

  tickPeriod(): number {
    return this.pruneDue || this.paused ? SYNC_PERIOD_MS : this.appender.tickPeriod();
  }

  /** What a power loss may still undo. */
  undelivered(saved: string | null): ResumePosition[] {
    const note = saved === null ? null : parseFilePosition(saved);
    if (note === null) return [];
    return advancedPositions(note.end.positions, note.durable.positions).map((at) => ({ ...at, found: [] }));
  }

  async check(): Promise<Finding[]> {
    const { directory, mode, group } = this.config;
    const findings = checkDirectory(
      this.disk,
      { directory, mode, group },
      this.deps.minFree,
      (name) => fileNumber(name) !== null || name === LINK || name.startsWith('.'),
    );
    const link = this.disk.entryAt(`${directory}/${LINK}`);
    if (link !== null && link.kind !== 'link') {
      const what = `${directory}/${LINK} is not a link, so it does not lead to the newest file`;
      findings.push({ level: 'warning', what, next: `move ${directory}/${LINK} away` });
    }
    return findings;
  }

  figures(): SinkFigures {
    return {
      file: this.appender.path,
      file_bytes: this.appender.size,
      undurable_bytes: this.appender.undurable,
      free_bytes: this.space.free,
      paused: this.paused,
      written_total: this.written,
      written_bytes_total: this.bytes,
      unformatted_total: this.unformatted.total,
      rolled_total: this.appender.rolled,
      pruned_total: this.pruned,
    };
  }

  async close(): Promise<void> {
    await this.appender.close();
  }

  /** Writes messages from `first` on. @returns where the next ones begin, or the end of the batch because the disk is full */
  private write({ source, timeline, messages }: MessageBatch, first: number): number | Delivered {
    const { bytes, ends, sequences } = messages;
    const start = first === 0 ? 0 : (ends[first - 1] ?? 0);
    let next = first + 1;
    while (next < messages.length && (ends[next] ?? 0) - start <= WRITE) next++;
    const before = this.appender.size;
    const piece = bytes.subarray(start, ends[next - 1]);
    const { lines, error } = this.appender.append({ bytes: piece, lines: next - first });
    this.written += lines;
    this.bytes += this.appender.size - before;
    if (error === null) return next;
    const last = sequences[first + lines - 1];
    if (last === undefined) throw error;
    this.unformatted.noteIn(messages, first + lines);
    this.appender.advance(source, timeline, last);
    return { upTo: last, saved: this.appender.savedPosition() };
  }

  /** Room, old files, the file itself. */
  private async prepare(): Promise<void> {
    await this.prune();
    await this.appender.ready();
    this.noticeRoll();
    const missing = await this.makeRoom();
    if (missing === 0) return;
    const { directory } = this.config;
    const lacking = `${Math.ceil(missing / 2 ** 20)} MB`;
    throw new AuditdError(
      'SINK_FAILED',
      `paused: the disk of ${directory} lacks ${lacking} of what must stay free`,
      { next: 'Free space there or lower min_free; the sink then resumes by itself' },
    );
  }

  /** Removes the oldest files while there is less room than must stay free. Returns the bytes that are still missing. */
  private async makeRoom(): Promise<number> {
    const { clock } = this.deps;
    let missing = this.shortage(() => this.space.shortage(clock()));
    while (missing > 0 && (await this.files.pruneOldest(this.appender.number))) {
      this.pruned++;
      missing = this.shortage(() => this.space.look(clock()));
    }
    this.paused = missing > 0;
    return missing;
  }

  /** Old files go with the next call: until then the note that counts may name one of them. */
  private noticeRoll(): void {
    if (this.appender.rolled === this.rolled) return;
    this.rolled = this.appender.rolled;
    this.pruneDue = true;
  }

  private shortage(look: () => number): number {
    try {
      return look();
    } catch (error) {
      throw diskError('cannot read the free space of', this.config.directory, error);
    }
  }

  private async prune(): Promise<void> {
    if (!this.pruneDue) return;
    this.pruneDue = false;
    try {
      this.pruned += await this.files.prune(this.config.roll.keep);
    } catch (error) {
      this.deps.log.warn(
        { err: error },
        diskError('cannot remove old files in', this.config.directory, error).message,
      );
    }
  }
}
