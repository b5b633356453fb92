import type { AuditEvent } from '../../audit/event.js';
import type { FileSinkConfig } from '../../config/schema.js';
import { AuditdError } from '../../errors.js';
import { bodies } from '../../formats/body-formats.js';
import { formatEcs, parseEcsPosition } from '../../formats/ecs.js';
import { writeEcs } from '../../formats/ecs-writer.js';
import { formatted, lastLine, neverThrowingWriter } from '../../formats/format-fallback.js';
import { fitBody } from '../../formats/shrink-to-size.js';
import { fitsUtf8 } from '../../formats/utf8.js';
import { FormatFailures } from '../format-failures.js';
import { advancedPositions } from '../positions.js';
import type {
  Batch,
  Corrections,
  Delivered,
  Finding,
  ResumePosition,
  Sink,
  SinkDeps,
  SinkFigures,
} from '../sink.js';
import { Appender, SYNC_PERIOD_MS } from './appender.js';
import { checkDirectory } from './check-directory.js';
import { diskError } from './disk-error.js';
import { parseFilePosition } from './file-position.js';
import { type Disk, realDisk } from './filesystem.js';
import { FreeSpace } from './free-space.js';
import { LineBuffer } from './line-buffer.js';
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
export function createFileSink(config: FileSinkConfig, deps: FileSinkDeps): Sink {
  return new FileSink(config, deps);
}

const write = neverThrowingWriter(writeEcs);

class FileSink implements Sink {
  readonly deliveryClass = 'exactly once';
  private readonly disk: Disk;
  private readonly files: NumberedFiles;
  private readonly appender: Appender;
  private readonly lines = new LineBuffer(WRITE);
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

  async deliver(batch: Batch, signal: AbortSignal): Promise<Delivered> {
    signal.throwIfAborted();
    await this.prepare();
    const { source, timeline, events, upTo } = batch;
    this.appender.beginBatch(source, timeline, events[0]?.sequence ?? upTo);
    this.lines.clear();
    let first = 0; // the event that the buffer begins with
    for (const event of events) {
      if (this.lines.write(event, this.write)) continue;
      const line = formatted(event, this.lineOf, lastLine, this.unformatted.note);
      if (this.lines.add(line)) continue;
      const end = this.flush(batch, first);
      if (end !== null) return end;
      first += this.lines.lines;
      this.lines.clear();
      this.lines.add(line);
    }
    const end = this.flush(batch, first);
    if (end !== null) return end;
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

  /** What a loss of power may still take. */
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

  private readonly write = (event: AuditEvent, into: Buffer, start: number): number => {
    const end = write(event, into, start);
    return end - start <= this.config.max_line_size ? end : -1;
  };

  private readonly lineOf = (event: AuditEvent): string => {
    const line = formatEcs(event);
    const { max_line_size: most } = this.config;
    return fitsUtf8(line, most) ? line : fitBody(event, most, bodies.ecs, {});
  };

  /** Writes the buffer, which begins with event `first`. Not null if the batch ends here because the disk is full. */
  private flush({ source, timeline, events }: Batch, first: number): Delivered | null {
    const before = this.appender.size;
    const { lines, error } = this.appender.append(this.lines);
    this.written += lines;
    this.bytes += this.appender.size - before;
    if (error === null) return null;
    const last = events[first + lines - 1];
    if (last === undefined) throw error;
    this.appender.advance(source, timeline, last.sequence);
    return { upTo: last.sequence, saved: this.appender.savedPosition() };
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
