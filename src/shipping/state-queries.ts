import type { Database } from 'better-sqlite3';
import type { SourceName } from '../audit/event.js';

// What others read from state.db: its tables are known here and in the files of `State`, and nowhere else.

/** A value that the daemon keeps under a name; null if there is none. */
export function readNote(db: Database, key: string): string | null {
  const value: unknown = db.prepare('SELECT value FROM meta WHERE key = ?').pluck().get(key);
  return typeof value === 'string' ? value : null;
}

/** 32 hex digits; a part of every `event.id`. Null before the daemon's first start. */
export function readSourceId(db: Database): string | null {
  return readNote(db, 'source_id');
}

/** The key of the mode `hmac`; null if secrets were never masked by HMAC. */
export function readHmacKey(db: Database): Buffer | null {
  const key = readNote(db, 'hmac_key');
  return key === null ? null : Buffer.from(key, 'hex');
}

/** The newest timeline of a source; the first before its first start. */
export function readTimeline(db: Database, source: SourceName): number {
  const newest: unknown = db
    .prepare('SELECT max(timeline) FROM timeline WHERE source = ?')
    .pluck()
    .get(source);
  return typeof newest === 'number' ? newest : 1;
}

/** How far a sink has delivered the newest timeline; null if it was never started. */
export function readCursor(db: Database, sink: string, source: SourceName): number | null {
  const upTo: unknown = db
    .prepare('SELECT up_to FROM cursor WHERE sink = ? AND source = ? AND timeline = ?')
    .pluck()
    .get(sink, source, readTimeline(db, source));
  return typeof upTo === 'number' ? upTo : null;
}

/** Rows up to here were there before the sink's first start (`start: now`), and are not delivered. */
export function readSkippedTo(db: Database, sink: string, source: SourceName): number {
  const skipTo: unknown = db
    .prepare('SELECT skip_to FROM start WHERE sink = ? AND source = ? AND timeline = ?')
    .pluck()
    .get(sink, source, readTimeline(db, source));
  return typeof skipTo === 'number' ? skipTo : 0;
}
