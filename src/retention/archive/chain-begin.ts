/** Where a chain begins that archives were removed from. */
export interface ChainBegin {
  /** Of the first archive of the chain: those before it were removed. */
  readonly sequence: number;
  /** When: the time of the decision, or what the anchor says where none is recorded. */
  readonly removed: string;
  /** Is a decision to remove them recorded in state.db? Null: that could not be read. */
  readonly recorded: boolean | null;
  /** When the anchor was adopted, where no decision is recorded. */
  readonly adopted: string | null;
}

/** For people. */
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
