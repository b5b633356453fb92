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
/** Both times are rounded to whole seconds. */
const ROUNDING_MS = 5_000;
/** How many of the newest reports are read. Bans older than these reports are not compared. */
const MOST = 5_000;

export interface Reports {
  /** The newest first. */
  readonly bans: readonly RecordedBan[];
  /** True if there may be older reports. */
  readonly isCut: boolean;
}

/**
 * Returns the bans of fail2ban that have no report. A report belongs to a ban if it was written soon after the time of the ban. fail2ban
 * gives that time in the zone of its own host or container, which is not known here: times are compared modulo a quarter of an hour.
 * Bans that are older than a day are not compared: their reports may have been archived.
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
/** A new ban may not have its report yet: it counts if it has no report after this time either. */
const AGAIN_MS = 30_000;

/**
 * Compares what fail2ban bans with what it has reported, every ten minutes. A report that could not be written (a directory mounted
 * read-only into fail2ban's container) leaves no other trace.
 */
export class BanComparison {
  /** Bans without a report, in fail2ban's order. */
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

  /** @returns whether a second comparison is needed to be sure */
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
        // fail2ban is not running, or this user may not ask it: `check` reports that.
        () => this.schedule(INTERVAL_MS),
      );
    }, ms);
    this.timer.unref();
  }
}

const SHOWN = 5;

export const UNREPORTED_NEXT =
  "Make sure that its action posternproxy-report can write there (a container may have /var/log read-only), and see fail2ban's log";

/** Describes the problem for the log, `check` and the page. */
export function unreported(addresses: readonly string[], path: string): string {
  const more = addresses.length > SHOWN ? ` and ${addresses.length - SHOWN} more` : '';
  return `fail2ban has banned ${addresses.slice(0, SHOWN).join(', ')}${more} without a report in ${path}`;
}
