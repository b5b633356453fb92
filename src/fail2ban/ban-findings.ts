import { createHash } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { BanEntry } from './ban-log.js';

/** The newest bans that are known. The end of an earlier ban has no finding. */
const MOST = 10_000;

/**
 * The finding that a ban and its end have in common: `finding_id` in the details of both, and the id of the finding in OCSF. It is
 * made of what fail2ban has reported, so a report that is read twice gives the same one.
 */
export class BanFindings {
  /** By jail and address. */
  private known: Map<string, string> | null = null;

  constructor(
    /** state.db. */
    private readonly db: Database.Database,
    private readonly server: string,
  ) {}

  /** Call it for each report, in order. Undefined: the beginning of that ban is not known, or older than this promise. */
  of({ event, jail, address, time, failures }: BanEntry, recordedAt: number): string | undefined {
    this.known ??= this.recorded();
    const key = `${jail} ${address}`;
    if (event === 'unban') return this.known.get(key);
    const facts = JSON.stringify([this.server, jail, address, time ?? recordedAt, failures]);
    const finding = createHash('sha256').update(facts).digest('hex').slice(0, 32);
    this.known.delete(key);
    this.known.set(key, finding);
    if (this.known.size > MOST) this.known.delete(this.known.keys().next().value ?? key);
    return finding;
  }

  private recorded(): Map<string, string> {
    const rows = this.db
      .prepare(
        `SELECT resource_id AS address, details FROM audit_log
         WHERE resource_type = 'ban' AND action IN ('ban', 'ban.ban') ORDER BY id DESC LIMIT ?`,
      )
      .all(MOST) as Array<{ address: string | null; details: string | null }>;
    const found = new Map<string, string>();
    for (const { address, details } of rows.toReversed()) {
      const { jail, finding_id: finding } = objectIn(details);
      const key = `${String(jail)} ${address}`;
      found.delete(key);
      if (typeof finding === 'string') found.set(key, finding);
    }
    return found;
  }
}

function objectIn(details: string | null): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(details ?? '{}') ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}
