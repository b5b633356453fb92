import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { SourceName } from '../../audit/event.js';
import { AuditdError, messageOf } from '../../errors.js';
import type Database from '../../load-sqlite.js';
import { asOwner, openOwn } from '../../shipping/as-owner.js';
import {
  readCursor,
  readHmacKey,
  readNote,
  readSkippedTo,
  readSourceId,
  readTimeline,
} from '../../shipping/state-queries.js';

/** What the daemon has saved about its sources and sinks. */
export interface StateReader {
  /** 32 hex digits; a part of every `event.id`. */
  readonly sourceId: string;
  /** Null if secrets were never masked by HMAC. */
  readonly hmacKey: Buffer | null;
  timelineOf(source: SourceName): number;
  /** How far a sink has delivered the newest timeline; null if it was never started. */
  cursorOf(sink: string, source: SourceName): number | null;
  /** Rows up to here existed before the sink's first start (`start: now`), and are not delivered. */
  skippedTo(sink: string, source: SourceName): number;
  /** A value that the daemon keeps under a name. */
  note(key: string): string | null;
  readonly db: Database;
  close(): void;
}

/**
 * Opens state.db read-only, or returns the reason why it can't. One transaction lasts until `close`, so that SQLite opens all its files
 * here, as the owner of the directory.
 */
export function openStateReader(directory: string): StateReader | { readonly why: string } {
  try {
    return asOwner(directory, () => open(directory));
  } catch (error) {
    return { why: messageOf(error) };
  }
}

function open(directory: string): StateReader | { readonly why: string } {
  const path = join(directory, 'state.db');
  if (!existsSync(path))
    return { why: `${path} does not exist: the daemon has not run yet, or this user may not see it` };
  try {
    const db = openOwn(directory, 'state.db', { readonly: true, timeout: 2_000 });
    db.exec('BEGIN');
    const sourceId = readSourceId(db);
    if (sourceId === null) {
      db.close();
      return { why: `${path} has no source id yet` };
    }
    return {
      db,
      note: (key) => readNote(db, key),
      close: () => asOwner(directory, () => db.close()),
      sourceId,
      hmacKey: readHmacKey(db),
      timelineOf: (source) => readTimeline(db, source),
      cursorOf: (sink, source) => readCursor(db, sink, source),
      skippedTo: (sink, source) => readSkippedTo(db, sink, source),
    };
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    return { why: `${path} can't be read: ${messageOf(error)}` };
  }
}
