/** The factor by which a window grows after a quick one. */
const WIDER = 4;
const FAST_MS = 5;
/** Above all ids. */
const WIDEST = 2 ** 53;

/** The number of ids that a step covers if it has to check each row: more after a quick step, fewer after a slow one. */
export class AdaptiveWindow {
  size: number;

  constructor(
    private readonly least: number,
    private readonly most = WIDEST,
  ) {
    this.size = least;
  }

  /** @param ms duration of one window @param isWhole false if it ended early, so that its duration does not count for a whole one */
  adapt(ms: number, isWhole: boolean): void {
    if (ms >= FAST_MS) this.size = Math.max(this.least, Math.floor(this.size / 2));
    else if (isWhole) this.size = Math.min(this.most, this.size * WIDER);
  }
}
