import type Database from 'better-sqlite3';
import type { Logger } from 'pino';
import { explained } from '../errors.js';
import type { Ban } from './client.js';
import type { Jail } from './helper-client.js';

/** A ban that fail2ban has reported. */
interface RecordedBan {
  /** As fail2ban lists it: an address or a network. */
  readonly address: string;
  /** Milliseconds since the epoch; null if it can't be read. */
  readonly time: number | null;
}

const QUARTER_MS = 900_000;
const JUDGED_MS = 20 * 3_600_000;
/** fail2ban's time of a ban is that of its last failure, at most 50 s old; its action may run a little later. */
const REPORTED_WITHIN_MS = 120_000;
/** Clocks of two reports of one moment, in whole seconds. */
const ROUNDING_MS = 5_000;
/** Of the reports the newest are looked through: bans older than these are not judged. */
const MOST = 5_000;

export interface Reports {
  /** The newest first. */
  readonly bans: readonly RecordedBan[];
  /** There may be older ones. */
  readonly isCut: boolean;
}

/**
 * What fail2ban bans without a report of it. A report belongs to a ban if it came soon after the ban's time. fail2ban says that in the
 * time of its own host or container, whose zone is not known here: times are compared up to whole quarters of an hour. Bans from
 * before the last day are not judged: their reports may have been archived.
 */
export function missingBans(bans: readonly Ban[], { bans: recorded, isCut }: Reports, now: number): string[] {
  const times = new Map<string, Array<number | null>>();
  for (const { address, time } of recorded) times.set(address, [...(times.get(address) ?? []), time]);
  const oldest = isCut ? (recorded.at(-1)?.time ?? now) : Number.NEGATIVE_INFINITY;
  return bans
    .filter(({ address, since }) => {
      const reports = times.get(address) ?? [];
      const begun = since === null ? Number.NaN : Date.parse(since.replace(' ', 'T'));
      if (Number.isNaN(begun)) return reports.length === 0 && !isCut;
      if (begun < now - JUDGED_MS || begun < oldest) return false;
      return !reports.some((time) => time === null || isSoonAfter(begun, time));
    })
    .map(({ address }) => address);
}

function isSoonAfter(begun: number, time: number): boolean {
  const later = (((time - begun + ROUNDING_MS) % QUARTER_MS) + QUARTER_MS) % QUARTER_MS;
  return later <= REPORTED_WITHIN_MS + 2 * ROUNDING_MS;
}

/** The newest reports of bans among the daemon's own events. */
export function recordedBans(db: Database.Database): Reports {
  const rows = db
    .prepare(
      `SELECT resource_id AS address, created_at AS time FROM audit_log
       WHERE resource_type = 'ban' AND action IN ('ban', 'ban.ban') ORDER BY id DESC LIMIT ?`,
    )
    .all(MOST) as Array<{ address: string | null; time: string }>;
  const bans = rows.map(({ address, time }) => {
    const parsed = Date.parse(`${time.replace(' ', 'T')}Z`);
    return { address: address ?? '', time: Number.isNaN(parsed) ? null : parsed };
  });
  return { bans, isCut: rows.length === MOST };
}

export interface BanComparisonOptions {
  readonly jail: Pick<Jail, 'report'>;
  /** state.db. */
  readonly db: Database.Database;
  /** bans.log, for the message. */
  readonly path: string;
  readonly log: Logger;
  readonly clock: () => number;
}

const FIRST_MS = 60_000;
const INTERVAL_MS = 600_000;
/** A ban without a report may just have been made: it counts when it is still without one after this. */
const AGAIN_MS = 30_000;

/**
 * Compares what fail2ban bans with what it has reported, every ten minutes: a report that could not be written (a directory mounted
 * read-only into fail2ban's container) leaves no other trace.
 */
export class BanComparison {
  /** Banned and not reported, in fail2ban's order. */
  missing: readonly string[] = [];
  private suspected: ReadonlySet<string> = new Set();
  private timer: NodeJS.Timeout | null = null;
  private isStopped = false;

  constructor(private readonly options: BanComparisonOptions) {}

  start(): void {
    this.isStopped = false;
    this.schedule(FIRST_MS);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** @returns whether another look is needed to be sure */
  async compare(): Promise<boolean> {
    const { jail, db, clock } = this.options;
    const { bans } = await jail.report();
    if (this.isStopped) return false;
    const found = missingBans(bans, recordedBans(db), clock());
    this.note(found.filter((address) => this.suspected.has(address)));
    const isNew = found.some((address) => !this.suspected.has(address));
    this.suspected = new Set(found);
    return isNew;
  }

  private note(missing: readonly string[]): void {
    const { log, path } = this.options;
    const before = this.missing.length;
    this.missing = missing;
    if (missing.length > 0 && before === 0) log.error(explained(unreported(missing, path), UNREPORTED_NEXT));
    if (missing.length === 0 && before > 0) log.info('fail2ban has reported all of its bans');
  }

  private schedule(ms: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.compare().then(
        (again) => this.schedule(again ? AGAIN_MS : INTERVAL_MS),
        // fail2ban is not there, or not for this user to ask: `check` says so.
        () => this.schedule(INTERVAL_MS),
      );
    }, ms);
    this.timer.unref();
  }
}

const SHOWN = 5;

export const UNREPORTED_NEXT =
  "Make sure that its action posternproxy-report can write there (a container may have /var/log read-only), and see fail2ban's log";

/** What is wrong, for the log, `check` and the page. */
export function unreported(addresses: readonly string[], path: string): string {
  const more = addresses.length > SHOWN ? ` and ${addresses.length - SHOWN} more` : '';
  return `fail2ban has banned ${addresses.slice(0, SHOWN).join(', ')}${more} without a report in ${path}`;
}
