import type { Logger } from 'pino';
import { NetworkSet } from '../audit/address.js';
import type { AuditEvent } from '../audit/event.js';
import type { NewEntry } from '../recorder/recorder.js';
import { classifyForBan } from '../sinks/files/ban-eligibility.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import {
  type Advice,
  adviceOn,
  type Clue,
  clueOf,
  type RecentVerdicts,
  type Silence,
  type SilentReason,
  silenceOfVerdicts,
} from './silence.js';

export interface SilenceWatchOptions {
  /** The recent decisions of the fail2ban sink; null if there is no such sink. */
  readonly verdicts: () => RecentVerdicts | null;
  readonly neverBan: readonly string[];
  /** `pending` of the watch before a reload. */
  readonly pending: SilentReason | null;
  readonly isHub: boolean;
  readonly record: (entry: NewEntry) => void;
  readonly clock: () => number;
  readonly log: Logger;
}

/** The part of `status`. */
export interface SilenceStatus extends Silence, Advice {
  /** Milliseconds since the epoch. */
  readonly since: number;
}

const LOOK_MS = 15_000;
/** How many servers of rows are distinguished: it is enough to know that there are several. */
const MOST_SERVERS = 5;

/** Checks whether failed logins reach fail2ban. Reports once that they don't, and once that they do again. */
export class SilenceWatch {
  status: SilenceStatus | null = null;
  /** The reason that was reported, until a failure is written again; survives a reload. */
  pending: SilentReason | null;
  private readonly clues = new Map<string, Clue>();
  private readonly servers = new Set<string>();
  private readonly neverBan: NetworkSet;
  private task: PeriodicTask | null = null;

  constructor(private readonly options: SilenceWatchOptions) {
    this.neverBan = new NetworkSet(options.neverBan);
    this.pending = options.pending;
  }

  start(): void {
    this.task = ticker.every(LOOK_MS, () => this.evaluate(), { keepsAlive: false });
  }

  stop(): void {
    this.task?.close();
  }

  /** Receives events as they are read, of more than 1,000 at once the newest. The last withheld event of a reason is shown with that reason. */
  observe(events: readonly AuditEvent[]): void {
    for (const event of events) {
      if (event.action !== 'auth.login_failure' || event.source !== 'postern') continue;
      if (event.revisionOf !== null) continue; // At a hub, revisions are in the same table as their rows.
      if (!event.local && this.servers.size < MOST_SERVERS) this.servers.add(event.server);
      const verdict = classifyForBan(event, this.options.clock(), this.neverBan);
      if (verdict !== null && verdict !== 'write') this.clues.set(verdict, clueOf(event));
    }
  }

  evaluate(): void {
    const { verdicts, isHub, record, clock, log } = this.options;
    const recent = verdicts();
    const silence = recent === null ? null : silenceOfVerdicts(recent, [...this.servers], isHub);
    const before = this.status;
    if (silence === null) {
      this.status = null;
      if (this.pending === null || (recent?.written?.hour ?? 0) === 0) return;
      log.info('failed logins reach fail2ban again');
      record({ action: 'daemon.failures_written', details: { reason: this.pending } });
      this.pending = null;
      return;
    }
    const advice = adviceOn(silence, this.clues.get(silence.reason) ?? null);
    const isNew = before?.reason !== silence.reason;
    this.status = { ...silence, ...advice, since: isNew ? clock() : before.since };
    if (!isNew || this.pending === silence.reason) return;
    this.pending = silence.reason;
    log.error(`${advice.what}. Next: ${advice.next}`);
    record({ action: 'daemon.failures_withheld', details: { ...silence, ...advice } });
  }
}
