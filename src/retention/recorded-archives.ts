import type { Database } from 'better-sqlite3';
import { readNote } from '../shipping/state-queries.js';
import type { Removal } from './archive/anchor.js';
import type { ChainHead } from './archive/manifest-chain.js';
import { recordedHeads } from './archive/recorded-heads.js';
import { Notes } from './saved-state.js';
import type { PurgedNote } from './unfinished-archives.js';

/** The archives recorded in state.db. */
export interface RecordedArchives {
  /** The last archive whose rows were removed from the table; null if there is none. */
  readonly purged: PurgedNote | null;
  /** The archives written, in order, as far as their events exist. */
  readonly made: readonly ChainHead[];
  /** The archives removed, the oldest first, to compare an anchor with. Null: none is recorded yet, and the anchor is trusted. */
  readonly removals: readonly Removal[] | null;
}

export const NOTHING_RECORDED: RecordedArchives = { purged: null, made: [], removals: null };

/** Reads the recorded archives; each call reads only new records. */
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
