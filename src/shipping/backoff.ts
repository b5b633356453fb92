import { AuditdError } from '../errors.js';

const FIRST_MS = 200;
const CAP_MS = 10_000;
/** A receiver may ask for a longer pause, but not for more than this. */
const LONGEST_ASKED_MS = 300_000;

/**
 * How long to wait before try number `attempt` (1 = the first retry), in ms: doubling from 200 ms to 10 s, with
 * up to a third taken off at random, so that many sinks that lost one collector do not come back together.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full * (1 - random() / 3));
}

/** The pause after a failed attempt: as `backoff`, and not shorter than the receiver asked for. */
export function pauseAfter(error: unknown, attempt: number, random?: () => number): number {
  const asked = error instanceof AuditdError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(backoff(attempt, random), Math.min(asked, LONGEST_ASKED_MS));
}
