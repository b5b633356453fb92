import type { ExpiredArchive } from './archive/expire.js';
import { CLOCK_STEP_MS } from './clock-step.js';

/**
 * An archive is the last copy of its rows, and a wrong clock is still wrong a day later. So an archive past its age is removed only after
 * it has been recorded as such for this long, measured by a clock that nobody can set: the time that the machine has run.
 */
export const EXPIRY_WAIT_MS = 86_400_000;

/** A reading of the clocks. */
export interface UptimeLook {
  /** Milliseconds since the epoch. */
  readonly wall: number;
  /** Milliseconds since the machine was started, without suspend (CLOCK_MONOTONIC). */
  readonly ran: number;
  /** Id of the boot; null if unknown. */
  readonly boot: string | null;
}

/** State kept across restarts. JSON, in state.db. */
export interface ExpiryNote extends UptimeLook {
  /** Observed running time of the machine, ms, summed over boots. */
  readonly total: number;
  /** The clock minus `total` when the operator confirmed the clock; null if not confirmed, or if the clock was set since. */
  readonly confirmed: number | null;
  readonly directory: string;
  /** Archives past their age, with `total` when each was first recorded. */
  readonly expired: ReadonlyArray<{
    readonly sequence: number;
    readonly sha256: string;
    readonly since: number;
  }>;
}

/**
 * Counts how long the machine has run. If the boot id is unknown, a longer uptime than before counts as the same boot: that counts too
 * little, never too much.
 */
export function countUptime(note: ExpiryNote | null, look: UptimeLook): ExpiryNote {
  if (note === null) return { ...look, total: 0, confirmed: null, directory: '', expired: [] };
  const isOther = look.boot !== null && note.boot !== null && look.boot !== note.boot;
  const passed = isOther || look.ran < note.ran ? look.ran : look.ran - note.ran;
  const total = note.total + passed;
  const { confirmed } = note;
  // Time while the machine was off also counts as a step: no clock observed it.
  const holds = confirmed !== null && Math.abs(look.wall - total - confirmed) <= CLOCK_STEP_MS;
  return { ...note, ...look, total, confirmed: holds ? confirmed : null };
}

/** @param note the current one: the operator has confirmed its clock */
export function confirmClock(note: ExpiryNote): ExpiryNote {
  return { ...note, confirmed: note.wall - note.total };
}

/**
 * Records archives past their age, and drops those that no longer are.
 *
 * @param archives past their age by the current clock, the oldest first
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

/** The last archive past its age that may be removed if the clock is trusted; 0: none. */
export function mayGoUpTo({ expired, total }: ExpiryNote): number {
  let upTo = 0;
  for (const { sequence, since } of expired) {
    if (total - since < EXPIRY_WAIT_MS) break;
    upTo = sequence;
  }
  return upTo;
}
