import type { ExpiredArchive } from './archive/expire.js';
import { CLOCK_STEP_MS } from './clock-step.js';

/**
 * An archive is the last copy of its rows, and a wrong clock agrees with itself a day later. So one that is past its age goes only when
 * that was written down this long ago, by a clock that nobody can set: the time that the machine has run.
 */
export const EXPIRY_WAIT_MS = 86_400_000;

/** A look at the clocks. */
export interface UptimeLook {
  /** Milliseconds since the epoch. */
  readonly wall: number;
  /** Milliseconds that the machine has run since its start, time asleep left out (CLOCK_MONOTONIC). */
  readonly ran: number;
  /** Of the start of the machine; null where it is not known. */
  readonly boot: string | null;
}

/** What is remembered over starts. JSON, in state.db. */
export interface ExpiryNote extends UptimeLook {
  /** How long the machine has run, as far as that was seen; ms, over its starts. */
  readonly total: number;
  /** The clock less `total`, when the operator said that the clock is right; null if that was not said, or it was set since. */
  readonly confirmed: number | null;
  readonly directory: string;
  /** Archives that are past their age, and `total` when that was written down first. */
  readonly expired: ReadonlyArray<{
    readonly sequence: number;
    readonly sha256: string;
    readonly since: number;
  }>;
}

/**
 * Counts how long the machine has run. Where its start is not known, one that has run longer than before is taken for the same: that counts
 * too little, never too much.
 */
export function countUptime(note: ExpiryNote | null, look: UptimeLook): ExpiryNote {
  if (note === null) return { ...look, total: 0, confirmed: null, directory: '', expired: [] };
  const isOther = look.boot !== null && note.boot !== null && look.boot !== note.boot;
  const passed = isOther || look.ran < note.ran ? look.ran : look.ran - note.ran;
  const total = note.total + passed;
  const { confirmed } = note;
  // Time that the machine was off counts as a step as well: nobody has seen by which clock it passed.
  const holds = confirmed !== null && Math.abs(look.wall - total - confirmed) <= CLOCK_STEP_MS;
  return { ...note, ...look, total, confirmed: holds ? confirmed : null };
}

/** @param note of now: the operator has said that its clock is right */
export function confirmClock(note: ExpiryNote): ExpiryNote {
  return { ...note, confirmed: note.wall - note.total };
}

/**
 * Writes down what is past its age, and forgets what no longer is.
 *
 * @param archives that are past their age by the clock of now, the oldest first
 */
export function recordExpired(
  note: ExpiryNote,
  directory: string,
  archives: ReadonlyArray<Pick<ExpiredArchive, 'sequence' | 'sha256'>>,
): ExpiryNote {
  const before = new Map(
    note.directory === directory
      ? note.expired.map((one) => [`${one.sequence}:${one.sha256}`, one.since])
      : [],
  );
  const expired = archives.map(({ sequence, sha256 }) => ({
    sequence,
    sha256,
    since: before.get(`${sequence}:${sha256}`) ?? note.total,
  }));
  return { ...note, directory, expired };
}

/** Up to which of the archives that are past their age they may go, if the clock is known; 0 if none. */
export function mayGoUpTo({ expired, total }: ExpiryNote): number {
  let upTo = 0;
  for (const { sequence, since } of expired) {
    if (total - since < EXPIRY_WAIT_MS) break;
    upTo = sequence;
  }
  return upTo;
}
