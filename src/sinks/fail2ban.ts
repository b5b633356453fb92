import { NetworkSet } from '../audit/address.js';
import type { AuditEvent } from '../audit/event.js';
import type { Fail2banSinkConfig } from '../config/schema.js';
import { formatFail2banLine, parseFail2banLine } from '../formats/fail2ban-line.js';
import { Appender } from './appender.js';
import { type BanRules, BanTarget } from './ban-target.js';
import { type Disk, realDisk } from './disk.js';
import type { LocalSinkDeps } from './file.js';
import { judge, REASONS, type Withheld } from './freshness.js';
import { LineBuffer } from './line-buffer.js';
import { FilePair, PAIR } from './pair.js';
import type { Batch, Delivered, Finding, Resume, Sink, SinkFigures } from './sink.js';
import { survey } from './survey.js';

/** fail2ban must have read the idle file to its end before it is replaced, and may just be restarting. */
const ROLL_REST_MS = 60_000;
/** Bytes of one write: what is in it was judged at the same moment. */
const WRITE = 1 << 18;

/**
 * Fresh failed logins at this server, for fail2ban to count, in a pair of files. Each is judged at the moment of its write. Exactly once
 * over the death of the process; how is said in appender.ts. `min_free` does not stop it: the pair is bounded, and an
 * attacker who fills the disk must not thereby end his ban.
 */
export function createFail2banSink(
  config: Fail2banSinkConfig,
  fail2ban: BanRules,
  deps: LocalSinkDeps,
): Sink {
  return new Fail2banSink(config, fail2ban, deps);
}

type Withholding = Record<Withheld, number>;

function none(): Withholding {
  return { old: 0, future: 0, unreadable: 0, no_address: 0, other_server: 0, never_ban: 0 };
}

class Fail2banSink implements Sink {
  readonly deliveryClass = 'exactly once';
  private readonly disk: Disk;
  private readonly appender: Appender;
  private readonly lines = new LineBuffer(WRITE);
  private readonly neverBan: NetworkSet;
  private readonly target: BanTarget;
  private readonly withheld = none();
  private written = 0;

  constructor(
    private readonly config: Fail2banSinkConfig,
    fail2ban: BanRules,
    private readonly deps: LocalSinkDeps,
  ) {
    const { clock, log } = deps;
    const ground = { directory: config.directory, mode: config.mode, group: config.group };
    this.disk = deps.disk ?? realDisk;
    this.neverBan = new NetworkSet(fail2ban.never_ban);
    this.target = new BanTarget(fail2ban);
    this.appender = new Appender({
      series: new FilePair(ground, this.disk),
      ground,
      rule: { size: config.roll.size, every: null, rest: ROLL_REST_MS },
      parse: parseFail2banLine,
      distrustFailedSync: false,
      disk: this.disk,
      clock,
      log,
    });
  }

  async open(saved: string | null): Promise<Resume | null> {
    return this.appender.recover(saved);
  }

  async deliver(batch: Batch, signal: AbortSignal): Promise<Delivered> {
    signal.throwIfAborted();
    await this.appender.ready();
    const { source, timeline, events, upTo } = batch;
    this.appender.expect(source, timeline, events[0]?.sequence ?? upTo);
    for (let next = 0; next < events.length; ) {
      const piece = this.compose(events, next);
      const { lines, error } = this.appender.append(this.lines);
      this.written += lines;
      if (error !== null) {
        const last = piece.written[lines - 1] ?? events[next - 1];
        if (last === undefined) throw error;
        this.appender.advance(source, timeline, last.sequence);
        return { upTo: last.sequence, saved: this.appender.note() };
      }
      for (const reason of REASONS) this.withheld[reason] += piece.withheld[reason];
      next = piece.next;
    }
    this.appender.advance(source, timeline, upTo);
    return { upTo, saved: this.appender.note() };
  }

  async tick(): Promise<string | null> {
    return this.appender.tick();
  }

  async check(): Promise<Finding[]> {
    const { directory, mode, group } = this.config;
    const ours = (name: string): boolean => PAIR.some((own) => own === name) || name.startsWith('.');
    return survey(this.disk, { directory, mode, group }, this.deps.minFree, ours);
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

  async close(): Promise<void> {
    await this.appender.close();
  }

  /** Fills the buffer with the lines of as many events as go into one write, all judged now. */
  private compose(events: readonly AuditEvent[], from: number) {
    const now = this.deps.clock();
    const withheld = none();
    const written: AuditEvent[] = [];
    this.lines.clear();
    let next = from;
    for (let event = events[next]; event !== undefined; event = events[++next]) {
      const verdict = judge(event, now, this.neverBan);
      if (verdict === null) continue;
      if (verdict !== 'write') withheld[verdict]++;
      else if (this.lines.add(this.line(event))) written.push(event);
      else break;
    }
    return { written, withheld, next };
  }

  /** @param event one that was judged: it has a time and an address */
  private line(event: AuditEvent): string {
    return formatFail2banLine(event, event.time ?? 0, this.target.of(event.address ?? ''));
  }
}
