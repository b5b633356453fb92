/** The state of a sink for one source, as in `status`. */
export interface SinkStanding {
  readonly required: boolean;
  readonly timeline: number;
  /** Its cursor. */
  readonly upTo: number;
  /** The lowest row id that must stay in the table for it. */
  readonly heldFrom: number;
  /** Rows after the cursor, not delivered yet. */
  readonly behind: number;
}

/** The state of a stalled sink: it has a backlog and makes no progress. JSON, saved in state.db. */
interface Stall {
  readonly timeline: number;
  readonly upTo: number;
  /** When it stalled, ms since the epoch, shown to people. */
  readonly since: number;
  /** How long the daemon has run since: neither downtime nor a clock step makes a sink dead. */
  readonly stalledMs: number;
}

export type Stalls = Readonly<Record<string, Stall>>;

/** Updates the state of the sinks. @param elapsed ms since the last update, by a clock that never steps */
export function updateStalls(
  stalls: Stalls,
  sinks: Readonly<Record<string, SinkStanding>>,
  now: number,
  elapsed: number,
): Stalls {
  return Object.fromEntries(
    Object.entries(sinks).flatMap(([name, { timeline, upTo, behind }]) => {
      if (behind === 0) return [];
      const before = stalls[name];
      const stands = before !== undefined && before.timeline === timeline && before.upTo === upTo;
      const stall: Stall = stands
        ? { ...before, stalledMs: before.stalledMs + Math.max(0, elapsed) }
        : { timeline, upTo, since: now, stalledMs: 0 };
      return [[name, stall] as const];
    }),
  );
}

/** A sink for which rows are kept. */
export interface Hold {
  readonly sink: string;
  readonly from: number;
  /** When it stalled; null while it makes progress. */
  readonly since: number | null;
  /** It has been stalled for longer than `max_hold`: rows are no longer kept for it. */
  readonly overridden: boolean;
}

/** Required sinks with the first row that each still needs, the lowest first. */
export function holdsOf(
  sinks: Readonly<Record<string, SinkStanding>>,
  stalls: Stalls,
  maxHold: number | null,
): Hold[] {
  return Object.entries(sinks)
    .filter(([, { required }]) => required)
    .map(([sink, { heldFrom }]) => {
      const stall = stalls[sink];
      const overridden = stall !== undefined && maxHold !== null && stall.stalledMs >= maxHold;
      return { sink, from: heldFrom, since: stall?.since ?? null, overridden };
    })
    .sort((a, b) => a.from - b.from);
}

/** Rows with an id below this may be deleted. @param read the highest row id that the daemon has read */
export function limitOf(holds: readonly Hold[], read: number): number {
  return Math.min(read + 1, ...holds.filter(({ overridden }) => !overridden).map(({ from }) => from));
}
