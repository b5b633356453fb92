import type Database from 'better-sqlite3';
import { parseAddress } from '../audit/address.js';
import type { AuditEvent, ColumnValue, SourceName } from '../audit/event.js';
import { fingerprintOf } from '../source/event-id.js';
import { ROW_EDITED } from '../source/row-to-event.js';
import type { KeptRow } from '../source/source.js';

/** Rows of a source between two ids, both included. */
export interface Stretch {
  readonly source: SourceName;
  readonly timeline: number;
  readonly first: number;
  readonly last: number;
}

interface Version {
  readonly id: number;
  readonly timeline: number;
  readonly fingerprint: string;
  readonly notFor: string | null;
}

/** An edit of a row. */
export interface Edit {
  /** The row as it is now. */
  readonly event: AuditEvent;
  /** Canonical name of what it was before. */
  readonly actionBefore: string;
  /** What those are to get for the row that have not been given it yet; null if it is known already. */
  readonly original: AuditEvent | null;
  /** Sinks that get the row with its new values, and therefore not this version too. */
  readonly notFor: readonly string[];
}

/**
 * Versions of edited rows. Each is a row of the daemon's own table, which every sink gets by its cursor there; its fingerprint is known as
 * one that comes that way, so that a walk of another history does not ship it again.
 *
 * A sink that had not had the row when the edit was found must get the original first: otherwise it would get one version twice and miss the
 * other. So the original is kept until every sink has had it.
 */
export class Revisions {
  private readonly insertOwn: Database.Statement;
  private readonly insert: Database.Statement;
  private readonly between: Database.Statement;
  private readonly exempt: Database.Statement;
  private readonly newest: Database.Statement;
  private readonly newestBetween: Database.Statement;
  private readonly keep: Database.Statement;
  private readonly kept: Database.Statement;
  private readonly passed: Database.Statement;
  /** Rows of which a first version is kept, by source and timeline; null: not looked yet. */
  private keptIds = new Map<string, Set<number>>();
  private readonly any: Database.Statement;
  private isAny: boolean | null = null;

  constructor(db: Database.Database) {
    this.insertOwn = db.prepare(
      `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server,
         revision_of, revised_action) VALUES (${Array(12).fill('?').join(', ')})`,
    );
    this.insert = db.prepare(
      'INSERT INTO revision (own_id, source, timeline, id, fingerprint, not_for) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.between = db.prepare(
      'SELECT id, timeline, fingerprint, not_for AS notFor FROM revision WHERE source = ? AND id BETWEEN ? AND ? AND timeline < ?',
    );
    this.exempt = db.prepare('SELECT not_for FROM revision WHERE own_id = ?').pluck();
    this.newest = db
      .prepare(
        'SELECT fingerprint FROM revision WHERE source = ? AND id = ? AND timeline = ? ORDER BY own_id DESC LIMIT 1',
      )
      .pluck();
    this.newestBetween = db.prepare(
      'SELECT id, fingerprint FROM revision WHERE source = ? AND timeline = ? AND id BETWEEN ? AND ? ORDER BY own_id',
    );
    this.any = db.prepare('SELECT EXISTS (SELECT 1 FROM revision)').pluck();
    this.keep = db.prepare(
      `INSERT OR IGNORE INTO original (source, timeline, id, event_id, ingested, created_at, user_id, user_name, user_email, action,
         resource_type, resource_id, details, ip_address, server) VALUES (${Array(15).fill('?').join(', ')})`,
    );
    this.kept = db
      .prepare(
        `SELECT id, event_id, ingested, created_at, user_id, user_name, user_email, action, resource_type, resource_id, details,
           ip_address, server FROM original WHERE source = ? AND timeline = ? AND id BETWEEN ? AND ?`,
      )
      .raw()
      .safeIntegers();
    this.passed = db.prepare(
      'DELETE FROM original WHERE source = ? AND (timeline < ? OR (timeline = ? AND id <= ?))',
    );
  }

  /** Inside of a transaction. */
  record({ event, actionBefore, original, notFor }: Edit): void {
    const { source, timeline, sequence } = event;
    if (original !== null) {
      const { id, ingested, redactedColumns = [] } = original;
      this.keep.run(source, timeline, sequence, id, ingested, ...redactedColumns);
      this.keptIds.clear();
    }
    const action = event.action === actionBefore ? ROW_EDITED : event.rawAction;
    const row = ownRow(event, action);
    const own = this.insertOwn.run(...row, sequence, event.rawAction).lastInsertRowid;
    const exempt = notFor.length === 0 ? null : JSON.stringify(notFor);
    this.insert.run(own, source, timeline, sequence, fingerprintOf(event.id), exempt);
    this.isAny = true;
  }

  /** Whether a row of the daemon's own table, if it is a version, is for this sink. */
  isFor(sink: string, ownId: number): boolean {
    return isForSink(this.exempt.get(ownId), sink);
  }

  /**
   * Of earlier histories, the versions that a sink gets or got from the daemon's own table, or got for the row itself; null if there
   * are none.
   *
   * @param cursorIn the sink's cursor in a timeline
   */
  ofEarlier(
    sink: string,
    { source, timeline, first, last }: Stretch,
    cursorIn: (timeline: number) => number,
  ): ReadonlySet<string> | null {
    if (timeline === 1 || !this.hasAny()) return null;
    const found = this.between.all(source, first, last, timeline) as Version[];
    const prints = found
      .filter((one) => isForSink(one.notFor, sink) || cursorIn(one.timeline) >= one.id)
      .map(({ fingerprint }) => fingerprint);
    return prints.length === 0 ? null : new Set(prints);
  }

  /** What a row was last seen to be, if it was edited. */
  newestOf(source: SourceName, timeline: number, id: number): string | null {
    return (this.newest.get(source, id, timeline) as string | undefined) ?? null;
  }

  /** What the rows of a stretch that were edited were last seen to be, by id. */
  newestIn({ source, timeline, first, last }: Stretch): ReadonlyMap<number, string> {
    const found = this.newestBetween.all(source, timeline, first, last) as Array<
      Pick<Version, 'id' | 'fingerprint'>
    >;
    return new Map(found.map(({ id, fingerprint }) => [id, fingerprint]));
  }

  /** The rows of a page, by id, that are still to be given as they were first. */
  originals(source: SourceName, timeline: number, first: number, last: number): ReadonlyMap<number, KeptRow> {
    const ids = this.idsOf(source, timeline);
    if (![...ids].some((id) => id >= first && id <= last)) return new Map();
    const found = this.kept.all(source, timeline, first, last) as ColumnValue[][];
    return new Map(
      found.map(([id, eventId, ingested, ...columns]) => [
        Number(id),
        { eventId: String(eventId), timeline, ingested: Number(ingested), row: [id ?? null, ...columns] },
      ]),
    );
  }

  hasOriginal(source: SourceName, timeline: number, id: number): boolean {
    return this.idsOf(source, timeline).has(id);
  }

  /** Is there anything that `forget` may take? */
  hasOriginals(source: SourceName, timeline: number): boolean {
    return this.idsOf(source, timeline).size > 0;
  }

  /** Every sink has had the rows up to an id. Inside a transaction. */
  forget(source: SourceName, timeline: number, upTo: number): void {
    this.passed.run(source, timeline, timeline, upTo);
    this.keptIds.clear();
  }

  private idsOf(source: SourceName, timeline: number): ReadonlySet<number> {
    const key = `${source}/${timeline}`;
    const known = this.keptIds.get(key);
    if (known !== undefined) return known;
    const rows = this.kept.all(source, timeline, 0, Number.MAX_SAFE_INTEGER) as ColumnValue[][];
    const ids = new Set(rows.map(([id]) => Number(id)));
    this.keptIds.set(key, ids);
    return ids;
  }

  private hasAny(): boolean {
    this.isAny ??= this.any.get() === 1;
    return this.isAny;
  }
}

function isForSink(notFor: unknown, sink: string): boolean {
  return typeof notFor !== 'string' || !(JSON.parse(notFor) as string[]).includes(sink);
}

/**
 * The columns as our table takes them, so that they are read as they were: no NULL where it has none, no number made of a text such as `012`,
 * times and addresses as they were understood, whatever the configuration says of Postern's.
 */
function ownRow(event: AuditEvent, action: string): ColumnValue[] {
  const [, userId, ...rest] = (event.redactedColumns ?? []).map(textOr);
  const created = event.time === null ? (event.rawTime ?? '') : new Date(event.time).toISOString();
  const row = [created, asId(userId ?? null), ...rest];
  row[4] = action;
  const address = row[8] ?? null;
  if (event.address !== null && parseAddress(typeof address === 'string' ? address : null) !== event.address)
    row[8] = event.address;
  return row;
}

function textOr(value: ColumnValue): ColumnValue {
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
}

/** Text in a column of integers: a BLOB where it would come back as another one. */
function asId(value: ColumnValue): ColumnValue {
  if (typeof value !== 'string' || String(Number.parseInt(value, 10)) === value) return value;
  return Number.isNaN(Number(value)) ? value : Buffer.from(value);
}
