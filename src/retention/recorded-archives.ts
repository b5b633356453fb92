import type { Database } from 'better-sqlite3';
import { readNote } from '../shipping/state-queries.js';
import type { Removal } from './archive/anchor.js';
import type { ChainHead } from './archive/manifest-chain.js';
import { recordedHeads } from './archive/recorded-heads.js';
import { Notes } from './saved-state.js';
import type { PurgedNote } from './unfinished-archives.js';

/** What state.db says of archives. */
export interface RecordedArchives {
  /** Up to which archive rows have been removed from the table; null if none were. */
  readonly purged: PurgedNote | null;
  /** The archives that were made, in this order, as far as the events of it are there. */
  readonly made: readonly ChainHead[];
  /** The archives that were removed, the oldest first: with these an anchor is compared. Null: nobody has recorded any yet, and it is believed. */
  readonly removals: readonly Removal[] | null;
}

export const NOTHING_RECORDED: RecordedArchives = { purged: null, made: [], removals: null };

/** Reads what was recorded of archives, and only what is new since it was asked last. */
export class RecordedReader {
  private made: ChainHead[] = [];
  private last = 0;

  /** @param db state.db */
  read(db: Database): RecordedArchives {
    const highest = Number(db.prepare('SELECT max(id) FROM audit_log').pluck().get() ?? 0);
    if (highest < this.last) [this.made, this.last] = [[], 0]; // another state.db
    const details = db
      .prepare(
        "SELECT details FROM audit_log WHERE id > ? AND id <= ? AND typeof(details) = 'text' AND instr(details, 'manifest_sha256') > 0 ORDER BY id",
      )
      .pluck()
      .all(this.last, highest) as string[];
    this.made.push(...recordedHeads(details));
    this.last = highest;
    const notes = new Notes({ note: (key) => readNote(db, key), setNote: () => undefined });
    return { purged: notes.purged, made: this.made, removals: notes.recordedRemovals };
  }
}
