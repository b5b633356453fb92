/** What a sink says of one source, as `status` has it. */
export interface SinkStanding {
  readonly required: boolean;
  readonly timeline: number;
  /** Its cursor. */
  readonly upTo: number;
  /** The lowest row id that must stay in the table for it. */
  readonly heldFrom: number;
  /** Rows behind the cursor that it has not got. */
  readonly behind: number;
}

/** What is remembered of a sink that has rows to get and gets nowhere. JSON, saved in state.db. */
interface Stall {
  readonly timeline: number;
  readonly upTo: number;
  /** Since when, ms since the epoch, for people. */
  readonly since: number;
  /** For how long the daemon ran meanwhile: neither downtime nor a step of the clock makes a sink dead. */
  readonly stalledMs: number;
}

export type Stalls = Readonly<Record<string, Stall>>;

/** One look at the sinks. @param elapsed ms since the last look, of a clock that never steps */
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

/** A sink that rows wait for. */
export interface Hold {
  readonly sink: string;
  readonly from: number;
  /** Since when it has got nowhere; null while it gets on. */
  readonly since: number | null;
  /** It has got nowhere for longer than `max_hold`: rows are not kept for it any more. */
  readonly overridden: boolean;
}

/** Required sinks and from which row each needs the table, the one that needs most first. */
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

/** Rows with an id below this may go. @param read the highest row that the daemon has read */
export function limitOf(holds: readonly Hold[], read: number): number {
  return Math.min(read + 1, ...holds.filter(({ overridden }) => !overridden).map(({ from }) => from));
}
