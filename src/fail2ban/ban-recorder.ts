import type { Logger } from 'pino';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { explained, messageOf } from '../errors.js';
import { renewJail } from '../next-steps.js';
import { createRecorder, type Recorder } from '../recorder/recorder.js';
import type { State } from '../shipping/state.js';
import { BanFindings } from './ban-findings.js';
import { type BanEntry, type BansRead, readBans } from './ban-log.js';
import { BanComparison } from './compare-bans.js';
import type { Jail } from './helper-client.js';
import { watchBans } from './watch-ban-log.js';

/** Name of the note in state.db with the position in bans.log. */
const NOTE = 'bans';
/** fail2ban reports an unban within a second or two. */
const WISH_MS = 60_000;
/** Interval between two events about unreadable reports. Every unreadable report is counted. */
const BAD_EVENT_MS = 3_600_000;

export interface BanRecorderOptions {
  /** bans.log, which fail2ban's report action appends to. */
  readonly path: string;
  readonly state: State;
  readonly server: string;
  readonly clock: () => number;
  readonly log: Logger;
  /** Called after events were recorded and committed. */
  readonly onRecorded: () => void;
  /** Used to find bans without a report. */
  readonly jail: Pick<Jail, 'report'>;
}

/**
 * Turns the reports of fail2ban into audit events. A ban and the position in bans.log are committed together, so each ban is
 * recorded exactly once, even if it happened while the daemon was down.
 */
export class BanRecorder {
  private watcher: { close(): void } | null = null;
  private readonly recorded = { ban: 0, unban: 0 };
  private bad = 0;
  private badRecorded = Number.NEGATIVE_INFINITY;
  private trouble: string | null = null;

  private readonly recorder: Recorder;
  private readonly comparison: BanComparison;
  private readonly findings: BanFindings;
  /** Unbans that somebody has requested and fail2ban has not reported yet, by address. */
  private readonly wanted = new Map<string, { readonly by: string; readonly at: number }>();

  constructor(private readonly options: BanRecorderOptions) {
    const { state, clock, server } = options;
    this.recorder = createRecorder(state.db, { clock, server });
    this.findings = new BanFindings(state.db, server);
    const { jail, log } = options;
    this.comparison = new BanComparison({ jail, db: state.db, path: options.path, log, clock });
  }

  start(): void {
    this.watcher = watchBans(this.options.path, () => this.read());
    this.read();
    this.comparison.start();
  }

  stop(): void {
    this.comparison.stop();
    this.watcher?.close();
    this.watcher = null;
  }

  status() {
    return {
      path: this.options.path,
      state: this.trouble ?? 'following',
      recorded_total: this.recorded.ban + this.recorded.unban,
      bans_total: this.recorded.ban,
      unbans_total: this.recorded.unban,
      bad_lines_total: this.bad,
      unrecorded: this.comparison.missing,
    };
  }

  /** @returns false if it has to be tried again */
  private read(): boolean {
    const { log } = this.options;
    try {
      while (this.readSome());
      if (this.trouble !== null) log.info('bans are recorded again');
      this.trouble = null;
      return true;
    } catch (error) {
      const message = messageOf(error);
      if (message !== this.trouble) log.warn({ err: error }, `bans are not recorded: ${message}`);
      this.trouble = message;
      return false;
    }
  }

  private readSome(): boolean {
    const { path, state, onRecorded } = this.options;
    const before = state.note(NOTE);
    const read = readBans(path, before);
    if (read.saved === null || read.saved === before) return false;
    const { saved } = read;
    let isSaid = false;
    state.transaction(() => {
      for (const entry of read.entries) this.record(entry);
      if (read.bad > 0) isSaid = this.recordBad(read);
      state.setNote(NOTE, saved);
    });
    for (const { event } of read.entries) this.recorded[event]++;
    this.bad += read.bad;
    if (read.entries.length > 0 || isSaid) onRecorded();
    return read.more;
  }

  /** @returns whether an event was recorded */
  private recordBad({ bad, badLine }: BansRead): boolean {
    const { path, log, clock } = this.options;
    if (this.bad === 0) {
      const shown = toSafeJson(badLine);
      const what = `a line of ${path} can't be read, so its ban is not recorded: ${shown}`;
      const next = `Check fail2ban's action posternproxy-report; to renew it, ${renewJail()}`;
      log.error(explained(what, next));
    }
    if (Math.abs(clock() - this.badRecorded) < BAD_EVENT_MS) return false;
    this.badRecorded = clock();
    this.recorder.record({
      action: 'daemon.ban_report_unreadable',
      details: { path, lines: bad, line: badLine },
    });
    return true;
  }

  /** Remembers who requested the unban that fail2ban is about to report. */
  noteUnbanRequest(address: string, by: string): void {
    const at = this.options.clock();
    for (const [key, wish] of this.wanted) if (at - wish.at > WISH_MS) this.wanted.delete(key);
    this.wanted.set(address, { by, at });
  }

  private record(entry: BanEntry): void {
    const wish = entry.event === 'unban' ? this.wanted.get(entry.address) : undefined;
    if (wish !== undefined) this.wanted.delete(entry.address);
    const asked = wish !== undefined && this.options.clock() - wish.at <= WISH_MS;
    const time = entry.time ?? this.options.clock();
    const finding = this.findings.of(entry, time);
    this.recorder.record({
      ...(asked ? { user: { name: wish.by } } : {}),
      action: `ban.${entry.event}`,
      time,
      address: entry.address.includes('/') ? null : entry.address, // with ipv6_prefix a network is banned
      resourceId: entry.address,
      details: {
        jail: entry.jail,
        failures: entry.failures,
        ban_time_seconds: entry.banTimeSeconds,
        ...(finding === undefined ? {} : { finding_id: finding }),
        ...(entry.time === null ? { time_unreadable: true } : {}),
      },
    });
  }
}
