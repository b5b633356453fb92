/** The beginning of a chain from which archives were removed. */
export interface ChainBegin {
  /** Number of the first archive of the chain: earlier ones were removed. */
  readonly sequence: number;
  /** When they were removed: the time of the decision or, if none is recorded, the time in the anchor. */
  readonly removed: string;
  /** Whether state.db records a decision to remove them. Null: state.db could not be read. */
  readonly recorded: boolean | null;
  /** When the anchor was adopted, if no decision is recorded. */
  readonly adopted: string | null;
}

/** The beginning of the chain, described for people. */
export function chainBeginText({ sequence, removed, recorded, adopted }: ChainBegin): string {
  const gone = sequence === 2 ? 'the first one was' : `the first ${sequence - 1} were`;
  const words = `the chain begins at ${sequence}; ${gone} removed on ${day(removed)}`;
  if (recorded === null) return `${words}, which was not compared with what the daemon has recorded`;
  if (recorded) return `${words}, recorded`;
  return `${words}, not recorded${adopted === null ? '' : `: the anchor was adopted on ${day(adopted)}`}`;
}

function day(time: string): string {
  return time.slice(0, 10);
}
