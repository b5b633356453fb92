import type { State } from '../shipping/state.js';
import type { Removal } from './archive/anchor.js';
import type { ClockNote } from './clock-step.js';
import type { RunTimes } from './cron-schedule.js';
import type { DeletionIntent } from './deletion-intent.js';
import type { Problem } from './error-parts.js';
import type { ExpiryNote } from './expiry.js';
import type { Held } from './plan.js';
import type { Stalls } from './sink-holds.js';
import type { PurgedNote } from './unfinished-archives.js';

/** The result of the last run, for `status`. */
export interface LastRun {
  /** When it began and ended, ms since the epoch. */
  readonly begin: number;
  readonly end: number;
  readonly deleted: number;
  readonly archives: number;
  /** Archived rows that the purge refused to delete; missing from the note of a release that did not count them. */
  readonly refused?: number;
  /** Archived rows that SQLite did not delete; missing likewise. */
  readonly kept?: number;
  /** Rows that stay because they are too large to archive; missing likewise. */
  readonly large?: number;
  readonly held: readonly Held[];
  /** The longest that Postern's write lock was held for one commit, ms. */
  readonly lock_ms: number;
  /** Unused bytes in the database file, and how to free them; null if nothing was deleted. */
  readonly free_bytes: number | null;
  readonly auto_vacuum: string | null;
  /** Null if the run succeeded. */
  readonly error: string | null;
  /** The parts of `error`; missing from the note of a release that saved the text alone. */
  readonly problem?: Problem;
}

/** State of retention that is kept across restarts. */
export interface Memory extends RunTimes {
  readonly last: LastRun | null;
  readonly clock: ClockNote | null;
  readonly stalls: Stalls;
}

const MEMORY = 'retention';
const PURGED = 'retention_purged';
const INTENTS = 'retention_intents';
const EXPIRY = 'retention_expiry';
const REFUSED_ANCHOR = 'retention_refused_anchor';
/** The oldest records of removals are dropped: only the newest of each directory counts. */
const REMOVALS_KEPT = 500;

/** Keys in `meta` of state.db, for readers that run without the daemon. */
export const REMOVALS = 'retention_removed';

/** @param text of that note */
export function removalsIn(text: string | null): readonly Removal[] {
  return listIn<Removal>(text);
}

function listIn<T>(text: string | null): readonly T[] {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? (value as T[]) : [];
  } catch {
    return [];
  }
}

/** The notes of retention in state.db; an unreadable note counts as missing. */
export class Notes {
  constructor(private readonly state: Pick<State, 'note' | 'setNote'>) {}

  get memory(): Memory | null {
    return this.read<Memory>(MEMORY, 'enabledSince');
  }

  set memory(memory: Memory) {
    this.state.setNote(MEMORY, JSON.stringify(memory));
  }

  get purged(): PurgedNote | null {
    return this.read<PurgedNote>(PURGED, 'sequence');
  }

  set purged(note: PurgedNote) {
    this.state.setNote(PURGED, JSON.stringify(note));
  }

  /** Deletions in progress. */
  get intents(): readonly DeletionIntent[] {
    const known = listIn<Partial<DeletionIntent>>(this.state.note(INTENTS));
    return known.filter((one): one is DeletionIntent => typeof one?.subject?.sha256 === 'string');
  }

  set intents(intents: readonly DeletionIntent[]) {
    this.state.setNote(INTENTS, JSON.stringify(intents));
  }

  get expiry(): ExpiryNote | null {
    return this.read<ExpiryNote>(EXPIRY, 'total');
  }

  set expiry(note: ExpiryNote) {
    this.state.setNote(EXPIRY, JSON.stringify(note));
  }

  /** The records of removed archives, the oldest first. */
  get removals(): readonly Removal[] {
    return removalsIn(this.state.note(REMOVALS));
  }

  set removals(removals: readonly Removal[]) {
    this.state.setNote(REMOVALS, JSON.stringify(removals.slice(-REMOVALS_KEPT)));
  }

  /** The same, or null before the first run of a version that records them: that run adopts an existing anchor. */
  get recordedRemovals(): readonly Removal[] | null {
    const note = this.state.note(REMOVALS);
    return note === null ? null : removalsIn(note);
  }

  /** The anchor that was rejected and reported last. */
  get refusedAnchor(): string | null {
    return this.state.note(REFUSED_ANCHOR);
  }

  set refusedAnchor(said: string) {
    this.state.setNote(REFUSED_ANCHOR, said);
  }

  private read<T extends object>(key: string, number: keyof T & string): T | null {
    try {
      const value = JSON.parse(this.state.note(key) ?? 'null') as T | null;
      return value !== null && typeof value[number] === 'number' ? value : null;
    } catch {
      return null;
    }
  }
}
