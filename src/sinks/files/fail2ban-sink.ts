import { NetworkSet } from '../../audit/address.js';
import { type AuditEvent, publicId } from '../../audit/event.js';
import type { Fail2banSinkConfig } from '../../config/schema.js';
import { type Fail2banLine, formatFail2banLine, parseFail2banLine } from '../../formats/fail2ban-line.js';
import type { Batch, Corrections, Delivered, EventSink, Finding, SinkFigures } from '../sink.js';
import { Appender } from './appender.js';
import { classifyForBan, REASONS, type Withheld } from './ban-eligibility.js';
import { type BanRules, BanTarget } from './ban-target.js';
import { checkDirectory } from './check-directory.js';
import { type RecentVerdict, VerdictCounts } from './eligibility-counts.js';
import { FilePair, PAIR } from './fail2ban-files.js';
import type { FileSinkDeps } from './file-sink.js';
import { type Disk, realDisk } from './filesystem.js';
import { LineBuffer } from './line-buffer.js';
import { type WrittenLine, WrittenRows } from './written-failures.js';

/** fail2ban must have read the idle file to its end before it is replaced, and may just be restarting. */
const ROLL_REST_MS = 60_000;
/** Bytes of one write: what is in it was judged at the same moment. */
const WRITE = 1 << 18;

/**
 * Fresh failed logins at this server, for fail2ban to count, in a pair of files. Each is judged at the moment of its write. Exactly once over the
 * death of the process, without a cursor: the sink knows the lines of the pair (written-failures.ts), so rows may be delivered again. `min_free`
 * does not stop it: the pair is bounded, and an attacker who fills the disk must not thereby end his ban.
 */
export function createFail2banSink(
  config: Fail2banSinkConfig,
  fail2ban: BanRules,
  deps: FileSinkDeps,
): EventSink {
  return new Fail2banSink(config, fail2ban, deps);
}

type Withholding = Record<Withheld, number>;

/** What was decided of one event. */
interface Decided {
  readonly event: AuditEvent;
  readonly verdict: 'written' | Withheld;
}

function none(): Withholding {
  return { old: 0, future: 0, unreadable: 0, no_address: 0, other_server: 0, never_ban: 0 };
}

class Fail2banSink implements EventSink {
  readonly deliveryClass = 'exactly once';
  readonly encoder = null;
  private readonly disk: Disk;
  private readonly appender: Appender;
  private readonly lines = new LineBuffer(WRITE);
  private readonly neverBan: NetworkSet;
  private readonly target: BanTarget;
  private readonly withheld = none();
  private readonly known = new WrittenRows();
  private readonly decided = new VerdictCounts<'written' | Withheld>();
  private written = 0;

  constructor(
    private readonly config: Fail2banSinkConfig,
    fail2ban: BanRules,
    private readonly deps: FileSinkDeps,
  ) {
    const { clock, log } = deps;
    const location = { directory: config.directory, mode: config.mode, group: config.group };
    this.disk = deps.disk ?? realDisk;
    this.neverBan = new NetworkSet(fail2ban.never_ban);
    this.target = new BanTarget(fail2ban);
    this.appender = new Appender({
      fileSet: new FilePair(location, this.disk),
      location,
      rule: { size: config.roll.size, every: null, rest: ROLL_REST_MS },
      parse: parseFail2banLine,
      stateless: true,
      distrustFailedSync: false,
      disk: this.disk,
      clock,
      log,
    });
  }

  async open(): Promise<Corrections | null> {
    await this.appender.recover(null);
    this.known.readBack(this.appender.backwards(parseFail2banLine), this.deps.clock());
    return null;
  }

  /** Events may be delivered again, and in any order of their sources: failures that are in the pair are left out. */
  async deliver(batch: Batch, signal: AbortSignal): Promise<Delivered> {
    signal.throwIfAborted();
    await this.appender.ready();
    const { events, upTo, uncounted, idsReused = false } = batch;
    for (let next = 0; next < events.length; ) {
      const piece = this.compose(events, next, idsReused);
      const { lines, error } = this.appender.append(this.lines);
      this.written += lines;
      for (const line of piece.written.slice(0, lines)) this.known.add(line);
      if (error !== null) {
        const last = piece.written[lines - 1]?.sequence ?? events[next - 1]?.sequence;
        if (last === undefined) throw error;
        return { upTo: last };
      }
      if (uncounted !== true) this.count(piece.decided);
      next = piece.next;
    }
    return { upTo };
  }

  async tick(): Promise<string | null> {
    await this.appender.tick();
    return null;
  }

  tickPeriod(): number {
    return this.appender.tickPeriod();
  }

  async check(): Promise<Finding[]> {
    const { directory, mode, group } = this.config;
    const ours = (name: string): boolean => PAIR.some((own) => own === name) || name.startsWith('.');
    return checkDirectory(this.disk, { directory, mode, group }, this.deps.minFree, ours);
  }

  figures(): SinkFigures {
    return {
      file: this.appender.path,
      file_bytes: this.appender.size,
      written_total: this.written,
      rolled_total: this.appender.rolled,
      ...Object.fromEntries(REASONS.map((reason) => [`withheld_${reason}_total`, this.withheld[reason]])),
    };
  }

  verdicts(): Readonly<Record<string, RecentVerdict>> {
    return this.decided.recent(this.deps.clock()) as Readonly<Record<string, RecentVerdict>>;
  }

  async close(): Promise<void> {
    await this.appender.close();
  }

  private count(decided: readonly Decided[]): void {
    const now = this.deps.clock();
    for (const { event, verdict } of decided) {
      if (verdict !== 'written') this.withheld[verdict]++;
      this.decided.note(verdict, publicId(event), now);
    }
  }

  /** Fills the buffer with the lines of as many events as go into one write, all judged now. */
  private compose(events: readonly AuditEvent[], from: number, idsReused: boolean) {
    const now = this.deps.clock();
    const decided: Decided[] = [];
    const written: WrittenLine[] = [];
    this.lines.clear();
    let next = from;
    for (let event = events[next]; event !== undefined; event = events[++next]) {
      const verdict = classifyForBan(event, now, this.neverBan);
      if (verdict === null) continue;
      const line = this.lineOf(event);
      if (line !== null && (this.isKnown(line, idsReused) || isRevisedIn(written, line))) continue;
      if (verdict === 'write' && line !== null) {
        if (!this.lines.add(formatFail2banLine(line, line.time, line.address))) break;
        written.push(line);
        decided.push({ event, verdict: 'written' });
      } else if (verdict !== 'write' && event.revisionOf === null) decided.push({ event, verdict });
    }
    return { written, decided, next };
  }

  /** True if the failure is in the pair, itself or as another version of its row. */
  private isKnown(line: WrittenLine, idsReused: boolean): boolean {
    if (idsReused ? this.known.hasExactly(line) : this.known.has(line)) return true;
    const { revisionOf, time, address } = line;
    if (revisionOf === null || !this.known.hasOriginal(revisionOf)) return false;
    this.known.addVersion(revisionOf, time, address);
    return true;
  }

  /** The contents of the event's line; null for one without a time or an address. */
  private lineOf(event: AuditEvent): Fail2banLine | null {
    const { time, address, source, timeline, sequence, id } = event;
    if (time === null || address === null) return null;
    const banned = this.target.of(address);
    const revisionOf = event.revisionOf;
    return { source, timeline, sequence, id, time: Math.trunc(time), address: banned, revisionOf };
  }
}

/** Another version of the same row is about to be written. */
function isRevisedIn(written: readonly WrittenLine[], { revisionOf }: WrittenLine): boolean {
  return revisionOf !== null && written.some((line) => line.revisionOf === revisionOf);
}
