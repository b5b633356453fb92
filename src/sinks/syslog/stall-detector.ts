/** What the kernel says of a connection at one moment. */
export interface SocketSample {
  /** ms, monotonic. */
  readonly at: number;
  /** Bytes that the kernel has taken from us since the connection was made. */
  readonly accepted: number;
  /** Of these, bytes that the other side has not acknowledged (or more: headers of TLS count too). */
  readonly unacknowledged: number;
}

/** What is remembered between two samples. */
export interface ByteProgress {
  /** The most that was ever known to be acknowledged, bytes. */
  readonly acknowledged: number;
  /** When that was last more than before, or nothing was open, ms. */
  readonly since: number;
}

/** A sample this often, while something is not acknowledged. */
export const SAMPLE_MS = 4_000;
/** No progress for so long: with sampling and connecting this stays within 30 s. */
export const STALLED_MS = 20_000;

/**
 * Judges by bytes acknowledged, not by writes that returned: the kernel takes megabytes for a collector that is gone.
 * With TLS `unacknowledged` counts record headers and `accepted` does not, so that acknowledged bytes are underestimated by
 * what is in flight; they still rise with every acknowledgement of more than that, and never without one.
 */
export function progressBetween(before: ByteProgress, sample: SocketSample): ByteProgress {
  const acknowledged = sample.accepted - sample.unacknowledged;
  if (sample.unacknowledged === 0) {
    return { acknowledged: Math.max(acknowledged, before.acknowledged), since: sample.at };
  }
  return acknowledged > before.acknowledged ? { acknowledged, since: sample.at } : before;
}

export function isStalled(known: ByteProgress, now: number): boolean {
  return now - known.since >= STALLED_MS;
}
