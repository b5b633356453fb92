/** What is remembered of a target that has failed. */
export interface TargetHealth {
  /** Failures in a row. */
  readonly failures: number;
  /** Until then the others are tried before it, ms. */
  readonly avoidedUntil: number;
}

export const GOOD_STANDING: TargetHealth = { failures: 0, avoidedUntil: Number.NEGATIVE_INFINITY };

const FIRST_MS = 10_000;
const CAP_MS = 300_000;

/** A connection that held for so long was a working one. */
export const PROVEN_MS = 60_000;

/** A target that failed is avoided for 10 s, doubling up to 5 minutes. */
export function afterFailure(standing: TargetHealth, now: number): TargetHealth {
  const failures = standing.failures + 1;
  return { failures, avoidedUntil: now + Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10)) };
}

/**
 * The order in which targets are tried, as indexes: those in good standing as they are configured, then the avoided
 * ones, the one whose time is up first in front. All are tried: with every collector down none is better than another.
 */
export function tryOrder(standings: readonly TargetHealth[], now: number): number[] {
  const all = standings.map((standing, index) => ({ index, until: standing.avoidedUntil }));
  const good = all.filter(({ until }) => until <= now);
  const avoided = all
    .filter(({ until }) => until > now)
    .sort((a, b) => a.until - b.until || a.index - b.index);
  return [...good, ...avoided].map(({ index }) => index);
}

/** The targets before the one in use to which a connection may go back now. */
export function better(standings: readonly TargetHealth[], current: number, now: number): number[] {
  return tryOrder(standings, now).filter(
    (index) => index < current && (standings[index]?.avoidedUntil ?? now) <= now,
  );
}
