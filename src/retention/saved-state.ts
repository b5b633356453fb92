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

/** What came of the last run, for `status`. */
export interface LastRun {
  /** When it began and ended, ms since the epoch. */
  readonly begin: number;
  readonly end: number;
  readonly deleted: number;
  readonly archives: number;
  /** Rows that are archived and that the purge would not delete; missing from the note of a release that did not count them. */
  readonly refused?: number;
  /** Rows that are archived and that SQLite did not delete; missing likewise. */
  readonly kept?: number;
  /** Rows that are too large to be archived, and stay; missing likewise. */
  readonly large?: number;
  readonly held: readonly Held[];
  /** The longest that Postern's write lock was held for one commit, ms. */
  readonly lock_ms: number;
  /** Bytes that the database's file holds and does not use, and how it can get rid of them; null if nothing was deleted. */
  readonly free_bytes: number | null;
  readonly auto_vacuum: string | null;
  /** Null if all went well. */
  readonly error: string | null;
  /** The parts of `error`; missing from the note of a release that saved the text alone. */
  readonly problem?: Problem;
}

/** What retention remembers over restarts. */
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
/** The oldest records of removals are dropped: of each directory the newest counts. */
const REMOVALS_KEPT = 500;

/** As `meta` in state.db has them, for who reads it without the daemon. */
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

/** The notes of retention in state.db; a note that can't be read counts as none. */
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

  /** What is being deleted. */
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

  /** What is recorded of archives that were removed, the oldest first. */
  get removals(): readonly Removal[] {
    return removalsIn(this.state.note(REMOVALS));
  }

  set removals(removals: readonly Removal[]) {
    this.state.setNote(REMOVALS, JSON.stringify(removals.slice(-REMOVALS_KEPT)));
  }

  /** The same, or null before the first run of a version that records them: an anchor from before is adopted then. */
  get recordedRemovals(): readonly Removal[] | null {
    const note = this.state.note(REMOVALS);
    return note === null ? null : removalsIn(note);
  }

  /** The anchor that was refused last, and was said to be. */
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
