import { describe, expect, it } from 'vitest';
import {
  type ByteProgress,
  isStalled,
  progressBetween,
  SAMPLE_MS,
  type SocketSample,
  STALLED_MS,
} from '../../../src/sinks/syslog/stall-detector.js';

/** Looks each 4 s at `[accepted, unacknowledged]`; the second at which it counts as stalled, null if it does not. */
function judge(samples: ReadonlyArray<readonly [number, number]>): number | null {
  let known: ByteProgress = { acknowledged: 0, since: 0 };
  for (const [index, [accepted, unacknowledged]] of samples.entries()) {
    const sample: SocketSample = { at: (index + 1) * SAMPLE_MS, accepted, unacknowledged };
    known = progressBetween(known, sample);
    if (isStalled(known, sample.at)) return sample.at / 1_000;
  }
  return null;
}

const steps = (count: number, at: (n: number) => readonly [number, number]) =>
  Array.from({ length: count }, (_, n) => at(n + 1));

describe('a connection', () => {
  it('is stalled 20 s after the last acknowledgement, and noticed within 30 s', () => {
    expect(judge(steps(20, () => [1_000, 1_000]))).toBe(20);
    expect(STALLED_MS + 2 * SAMPLE_MS).toBeLessThan(30_000);
  });

  it.each<[string, Array<readonly [number, number]>]>([
    ['all is acknowledged', steps(20, () => [1_000, 0])],
    ['acknowledgements keep coming', steps(20, (n) => [5_000, 5_000 - n])],
    ['what is sent and what is acknowledged keep step', steps(20, (n) => [n * 1_000, 900])],
    ['TLS headers count on one side only', steps(20, (n) => [n * 1_000, 970])],
    ['it is idle again and again', steps(20, (n) => [1_000, n % 3 === 0 ? 0 : 100])],
  ])('is not stalled while %s', (_, samples) => expect(judge(samples)).toBeNull());

  it('is stalled though the kernel keeps taking bytes for a collector that is gone', () => {
    expect(judge([[1_000, 0], ...steps(20, (n) => [1_000 + n * 100, n * 100] as const)])).toBe(24);
  });

  it('is stalled where a hung program leaves its window closed', () => {
    expect(judge([[4_000_000, 100], ...steps(20, () => [4_000_000, 2_500_000] as const)])).toBe(24);
  });
});
