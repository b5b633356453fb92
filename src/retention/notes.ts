import type { State } from '../shipping/state.js';
import type { ClockNote } from './clock.js';
import type { Stalls } from './holds.js';
import type { PurgedNote } from './pending.js';
import type { Held } from './plan.js';
import type { RunTimes } from './schedule.js';

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
  readonly held: readonly Held[];
  /** The longest that Postern's write lock was held for one commit, ms. */
  readonly lock_ms: number;
  /** Bytes that the database's file holds and does not use, and how it can get rid of them; null if nothing was deleted. */
  readonly free_bytes: number | null;
  readonly auto_vacuum: string | null;
  /** Null if all went well. */
  readonly error: string | null;
}

/** What retention remembers over restarts. */
export interface Memory extends RunTimes {
  readonly last: LastRun | null;
  readonly clock: ClockNote | null;
  readonly stalls: Stalls;
}

const MEMORY = 'retention';
const PURGED = 'retention_purged';

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

  private read<T extends object>(key: string, number: keyof T & string): T | null {
    try {
      const value = JSON.parse(this.state.note(key) ?? 'null') as T | null;
      return value !== null && typeof value[number] === 'number' ? value : null;
    } catch {
      return null;
    }
  }
}
