/** When the next message may be sent: `group_wait` after the last one, and at most `messages` in each `per`. Times in ms. */
export class Pacing {
  /** Of the last `messages` messages, ascending. */
  private readonly sent: number[] = [];

  constructor(
    private readonly groupWait: number,
    private readonly rate: { readonly messages: number; readonly per: number },
  ) {}

  /** Milliseconds from `now` until a message may be sent; 0: at once. */
  wait(now: number): number {
    const last = this.sent.at(-1) ?? Number.NEGATIVE_INFINITY;
    const [first = 0] = this.sent;
    const byRate = this.sent.length < this.rate.messages ? 0 : first + this.rate.per - now;
    return Math.max(0, last + this.groupWait - now, byRate);
  }

  note(now: number): void {
    this.sent.push(now);
    if (this.sent.length > this.rate.messages) this.sent.shift();
  }
}
