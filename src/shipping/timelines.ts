import type Database from 'better-sqlite3';
import type { SourceName } from '../audit/event.js';
import type { HighWaterMark } from '../source/source.js';

/** The histories met behind each source's path, the newest last, each with its mark. */
export class Timelines {
  private readonly newest: Database.Statement;
  private readonly insert: Database.Statement;
  private readonly update: Database.Statement;

  constructor(
    db: Database.Database,
    private readonly clock: () => number,
  ) {
    this.newest = db.prepare(
      'SELECT timeline, mark_id AS id, mark_fingerprint AS fingerprint FROM timeline WHERE source = ? ORDER BY timeline DESC LIMIT 1',
    );
    this.insert = db.prepare(
      'INSERT INTO timeline (source, timeline, mark_id, mark_fingerprint, started_at, reason) VALUES (?, ?, 0, NULL, ?, ?)',
    );
    this.update = db.prepare(
      'UPDATE timeline SET mark_id = ?, mark_fingerprint = ? WHERE source = ? AND timeline = ?',
    );
  }

  /** The mark of the current timeline; null before the source's first start. */
  current(source: SourceName): HighWaterMark | null {
    return (this.newest.get(source) as HighWaterMark | undefined) ?? null;
  }

  begin(source: SourceName, timeline: number, reason: string): HighWaterMark {
    this.insert.run(source, timeline, this.clock(), reason);
    return { timeline, id: 0, fingerprint: null };
  }

  setMark(mark: HighWaterMark & { source: SourceName }): void {
    this.update.run(mark.id, mark.fingerprint, mark.source, mark.timeline);
  }
}
