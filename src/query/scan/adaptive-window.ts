/** The next window is so many times as large where one was quick. */
const WIDER = 4;
const FAST_MS = 5;
/** No id is that high. */
const WIDEST = 2 ** 53;

/** How many ids a step goes over that has to look at each row: more where that is quick, fewer where it is not. */
export class AdaptiveWindow {
  size: number;

  constructor(
    private readonly least: number,
    private readonly most = WIDEST,
  ) {
    this.size = least;
  }

  /** @param ms what one took @param isWhole false if it ended before its floor: that says nothing of how long a whole one takes */
  passed(ms: number, isWhole: boolean): void {
    if (ms >= FAST_MS) this.size = Math.max(this.least, Math.floor(this.size / 2));
    else if (isWhole) this.size = Math.min(this.most, this.size * WIDER);
  }
}
