import type Database from 'better-sqlite3';
import type { SourceName } from '../audit/event.js';

/** A first start in the middle of a history: rows up to `skipTo` are recorded, not delivered. */
export interface Start {
  readonly timeline: number;
  readonly skipTo: number;
}

/**
 * How far each sink has delivered each timeline of each source. Rows of earlier timelines stay: together with
 * the fingerprints they say what a sink has had, whatever database is found behind the path later.
 */
export class Cursors {
  private readonly get: Database.Statement;
  private readonly put: Database.Statement;
  private readonly all: Database.Statement;
  private readonly zeroAfter: Database.Statement;
  private readonly getStart: Database.Statement;
  private readonly putStart: Database.Statement;
  private readonly getSink: Database.Statement;
  private readonly putSink: Database.Statement;

  constructor(private readonly db: Database.Database) {
    this.get = db.prepare('SELECT up_to FROM cursor WHERE sink = ? AND source = ? AND timeline = ?').pluck();
    this.put = db.prepare(
      `INSERT INTO cursor (sink, source, timeline, up_to) VALUES (?, ?, ?, ?)
       ON CONFLICT (sink, source, timeline) DO UPDATE SET up_to = excluded.up_to`,
    );
    this.all = db.prepare(
      'SELECT timeline, up_to AS upTo FROM cursor WHERE sink = ? AND source = ? AND timeline < ?',
    );
    this.zeroAfter = db.prepare('UPDATE cursor SET up_to = 0 WHERE sink = ? AND source = ? AND timeline > ?');
    this.getStart = db.prepare('SELECT timeline, skip_to AS skipTo FROM start WHERE sink = ? AND source = ?');
    this.putStart = db.prepare(
      'INSERT OR REPLACE INTO start (sink, source, timeline, skip_to) VALUES (?, ?, ?, ?)',
    );
    this.getSink = db.prepare('SELECT saved FROM sink WHERE name = ?');
    this.putSink = db.prepare(
      `INSERT INTO sink (name, saved, first_start) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET saved = coalesce(excluded.saved, saved)`,
    );
  }

  /** Null if the sink was never started on this timeline. */
  position(sink: string, source: SourceName, timeline: number): number | null {
    return (this.get.get(sink, source, timeline) as number | undefined) ?? null;
  }

  set(sink: string, source: SourceName, timeline: number, upTo: number): void {
    this.put.run(sink, source, timeline, upTo);
  }

  /** Takes back everything behind (timeline, upTo): the destination no longer has it. */
  moveBack(sink: string, source: SourceName, timeline: number, upTo: number): void {
    this.set(sink, source, timeline, upTo);
    this.zeroAfter.run(sink, source, timeline);
  }

  /** What the sink has delivered of each timeline before this one. */
  earlier(
    sink: string,
    source: SourceName,
    timeline: number,
  ): ReadonlyArray<{ timeline: number; upTo: number }> {
    return this.all.all(sink, source, timeline) as Array<{ timeline: number; upTo: number }>;
  }

  start(sink: string, source: SourceName): Start | null {
    return (this.getStart.get(sink, source) as Start | undefined) ?? null;
  }

  setStart(sink: string, source: SourceName, start: Start): void {
    this.putStart.run(sink, source, start.timeline, start.skipTo);
  }

  /** The sink's own note; null if it has none, undefined if the sink was never started. */
  sinkState(sink: string): string | null | undefined {
    const row = this.getSink.get(sink) as { saved: string | null } | undefined;
    return row === undefined ? undefined : row.saved;
  }

  /** `saved` null leaves the note as it is. */
  saveSinkState(sink: string, saved: string | null, now: number): void {
    this.putSink.run(sink, saved, now);
  }

  /** Of a sink that has no place any more. */
  forget(sink: string): void {
    for (const table of ['cursor', 'start']) this.db.prepare(`DELETE FROM ${table} WHERE sink = ?`).run(sink);
    this.db.prepare('DELETE FROM sink WHERE name = ?').run(sink);
  }

  /** Sinks that have cursors but are no longer configured. */
  known(): string[] {
    return this.db.prepare('SELECT name FROM sink ORDER BY name').pluck().all() as string[];
  }
}
