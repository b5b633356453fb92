import type Database from 'better-sqlite3';
import type { AuditEvent, ColumnValue, SourceName } from '../audit/event.js';
import { fingerprintOf } from '../source/event-id.js';
import { createdIn } from '../source/row-to-event.js';
import type { RecentRow } from '../source/source.js';

/** How many of the last rows are remembered with the values that distinguish an edit from another history. */
const KEPT = 1_000;
/** In a backlog each page replaces all remembered rows: they are saved this often. */
const DEFERRED_MS = 1_000;

/** A row as first read, or as after its last seen edit. */
export interface RememberedRow extends RecentRow {
  /** Canonical name of its action. */
  readonly action: string;
  readonly address: string | null;
  /** When it was first read, ms since the epoch. */
  readonly readAt: number;
  /** When its last edit was recorded, ms since the epoch; 0: never. */
  readonly revisedAt: number;
}

export interface PendingRecent {
  readonly source: SourceName;
  readonly timeline: number;
  readonly rows: readonly RememberedRow[];
  /** More rows follow. */
  readonly isDeferred: boolean;
}

/** Rows read for the first time. */
export interface FirstRead {
  readonly rows: readonly RememberedRow[];
  /**
   * More rows follow: these may be saved later than their fingerprints. After a crash, only the row at the mark, which is not among them, then
   * distinguishes an edit from another history: that may cost an additional scan.
   */
  readonly isMore: boolean;
  /** Rows between the remembered ones and these were read and not remembered: only one run of ids is watched. */
  readonly skips: boolean;
}

interface Known {
  readonly timeline: number;
  rows: RememberedRow[];
}

/**
 * The newest rows of a source's current timeline, in memory, and in state.db in the transaction that writes their fingerprints. Rows of one
 * timeline replace all rows of another.
 */
export class RecentRows {
  private pending = new Map<SourceName, PendingRecent>();
  private written = Number.NEGATIVE_INFINITY;
  private readonly known = new Map<SourceName, Known>();
  private readonly put: Database.Statement;
  private readonly prune: Database.Statement;
  private readonly all: Database.Statement;

  constructor(db: Database.Database) {
    this.put = db.prepare(
      `INSERT OR REPLACE INTO recent (source, timeline, id, created_at, address, action, fingerprint, read_at, revised_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.prune = db.prepare('DELETE FROM recent WHERE source = ? AND (timeline < ? OR id < ?)');
    this.all = db
      .prepare(
        `SELECT timeline, id, created_at AS createdAt, address, action, fingerprint, read_at AS readAt, revised_at AS revisedAt
         FROM recent WHERE source = ? ORDER BY timeline, id`,
      )
      .safeIntegers();
  }

  /** Remembers rows read for the first time, with ascending ids above all remembered ones of this timeline; of more than 1,000 the last. */
  record(source: SourceName, timeline: number, read: FirstRead): void {
    const rows = read.rows.slice(-KEPT);
    const isAlone = read.skips || rows.length === KEPT;
    const before = isAlone ? [] : this.of(source, timeline);
    this.known.set(source, { timeline, rows: [...before, ...rows].slice(-KEPT) });
    if (isAlone) this.pending.delete(source);
    this.add({ source, timeline, rows, isDeferred: read.isMore });
  }

  /** Ids ascending. */
  of(source: SourceName, timeline: number): readonly RememberedRow[] {
    const known = this.known.get(source) ?? this.load(source);
    return known.timeline === timeline ? known.rows : [];
  }

  /** @param all including deferred rows */
  take(all = false): readonly PendingRecent[] {
    const isTime = all || performance.now() - this.written >= DEFERRED_MS;
    const taken = [...this.pending.values()].filter(({ isDeferred }) => isTime || !isDeferred);
    for (const { source } of taken) this.pending.delete(source);
    return taken;
  }

  putBack(taken: readonly PendingRecent[]): void {
    for (const earlier of taken) {
      const later = this.pending.get(earlier.source);
      if (later !== undefined) this.pending.delete(earlier.source);
      this.add(earlier);
      if (later !== undefined) this.add(later);
    }
  }

  private add(more: PendingRecent): void {
    const before = this.pending.get(more.source);
    const isSame = before?.timeline === more.timeline;
    const rows = isSame ? [...before.rows, ...more.rows].slice(-KEPT) : more.rows;
    this.pending.set(more.source, { ...more, rows });
  }

  /** Called inside a transaction. */
  write(taken: readonly PendingRecent[]): void {
    for (const { source, timeline, rows } of taken) {
      for (const row of rows) this.save(source, timeline, row);
      const first = this.of(source, timeline)[0]?.id ?? 0;
      this.prune.run(source, timeline, first);
    }
    if (taken.length > 0) this.written = performance.now();
  }

  /** Saves the current values of rows, inside a transaction. Call `replace` after the commit. */
  update(source: SourceName, timeline: number, rows: readonly RememberedRow[]): void {
    for (const row of rows) this.save(source, timeline, row);
  }

  replace(source: SourceName, timeline: number, rows: readonly RememberedRow[]): void {
    const changed = new Map(rows.map((row) => [row.id, row]));
    const now = this.of(source, timeline).map((row) => changed.get(row.id) ?? row);
    this.known.set(source, { timeline, rows: now });
  }

  private save(source: SourceName, timeline: number, row: RememberedRow): void {
    const { id, createdAt, address, action, fingerprint, readAt, revisedAt } = row;
    this.put.run(source, timeline, id, createdAt, address, action, fingerprint, readAt, revisedAt);
  }

  private load(source: SourceName): Known {
    const found = this.all.all(source) as Array<Record<string, ColumnValue>>;
    const timeline = Number(found.at(-1)?.timeline ?? 0);
    const rows = found
      .filter((row) => Number(row.timeline) === timeline)
      .map((row) => ({
        id: Number(row.id),
        createdAt: row.createdAt ?? null,
        address: (row.address as string | null) ?? null,
        action: String(row.action),
        fingerprint: String(row.fingerprint),
        readAt: Number(row.readAt),
        revisedAt: Number(row.revisedAt),
      }));
    const known = { timeline, rows };
    this.known.set(source, known);
    return known;
  }
}

export function recentOf(event: AuditEvent, before?: RememberedRow): RememberedRow {
  return {
    id: event.sequence,
    createdAt: createdIn(event),
    fingerprint: fingerprintOf(event.id),
    action: (event.revisedType ?? event.type).action,
    address: event.address,
    readAt: before?.readAt ?? event.ingested,
    revisedAt: before?.revisedAt ?? 0,
  };
}
