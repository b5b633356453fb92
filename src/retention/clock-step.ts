import type { Problem } from './error-parts.js';

/** A reading of the clock, with a clock that never steps. */
export interface ClockLook {
  /** Milliseconds since the epoch. */
  readonly wall: number;
  /** Milliseconds since the machine was started, suspend included. */
  readonly up: number;
}

/** State kept between readings and across restarts. JSON, saved in state.db. */
export interface ClockNote extends ClockLook {
  /** Remaining wait of runs after a step, ms. */
  readonly wait: number;
  /** The last step, ms; positive is forward. */
  readonly step: number | null;
}

export const CLOCK_STEP_MS = 3_600_000;
export const WAIT_MS = 86_400_000;

/**
 * Detects clock steps of more than an hour: within one boot in both directions; across a reboot only backwards, because a clock that is
 * ahead looks like a machine that was off. (A longer uptime than before counts as the same boot: that costs a day at most.)
 */
export function detectClockStep(note: ClockNote | null, look: ClockLook): ClockNote {
  if (note === null) return { ...look, wait: 0, step: null };
  const same = look.up >= note.up;
  const passed = same ? look.up - note.up : look.up;
  const step = look.wall - note.wall - passed;
  const stepped = same ? Math.abs(step) > CLOCK_STEP_MS : step < -CLOCK_STEP_MS;
  if (stepped) return { ...look, wait: WAIT_MS, step };
  const wait = Math.max(0, note.wait - passed);
  return { ...look, wait, step: wait === 0 ? null : note.step };
}

/** Why runs wait after a clock step; null if they do not. */
export function clockWait(note: ClockNote | null): Problem | null {
  const { wait = 0, step = null } = note ?? {};
  if (wait === 0) return null;
  const hours = Math.ceil(wait / 3_600_000);
  const stepped = Math.round(Math.abs(step ?? 0) / 3_600_000);
  const way = (step ?? 0) < 0 ? 'back' : 'forward';
  return {
    what: `the clock was set ${way} by ${stepped} h, so the next run waits ${hours} h`,
    next: 'Set the clock if it is wrong now',
  };
}
