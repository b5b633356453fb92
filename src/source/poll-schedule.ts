/**
 * When to read after a change. With synchronous=FULL the file's event comes before its rows can be read, so further reads must
 * follow. Measured over 600 commits, commit to visible, p50/p99: one read at once 6.4/12.1 ms and 1 row never; this schedule
 * 1.3/4.8 ms (NORMAL 1.4/2.8), at 15 % of a core under 1,000 commits/s. The steps above 32 ms are for a starved writer or a slow disk, which delay
 * the moment at which written rows can be read: without them, 1 commit in 300 waited for the poll while both cores were busy.
 */
export type PollStep =
  /** Waiting for rows: `offset` is the time since the event at which the next read is due. */
  | { readonly kind: 'rising'; readonly offset: number }
  /** Rows were found: another read finds commits made in the meantime without their own event. */
  | { readonly kind: 'trailing'; readonly offset: number };

const RISING = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;
const TRAILING = [16, 32, 64, 128, 256, 512] as const;

/** After an event; `step` is the step before it, null if no read was due. */
export function onEvent(step: PollStep | null): PollStep {
  // During a stream of events one read per millisecond is enough.
  return { kind: 'rising', offset: step === null ? 0 : 1 };
}

/** After the read of `step`; null: nothing more until the next event. */
export function onRead(step: PollStep, foundRows: boolean): PollStep | null {
  if (foundRows) return { kind: 'trailing', offset: TRAILING[0] };
  const offsets: readonly number[] = step.kind === 'rising' ? RISING : TRAILING;
  const next = offsets.find((offset) => offset > step.offset);
  return next === undefined ? null : { kind: step.kind, offset: next };
}

/**
 * When the next read is due after an event that led to `step`; times in milliseconds. `pending`: when one is due already.
 * Events that come faster than the first step must not postpone the read for ever.
 */
export function dueAfterEvent(step: PollStep, now: number, pending: number | null): number {
  const due = now + step.offset;
  return pending === null ? due : Math.min(pending, due);
}
