/** A delivery that takes longer is broken off and tried again; a sink that then still hangs fails the watchdog. */
export const DELIVERY_LIMIT_MS = 60_000;
/** How often a delivery that takes its time is asked whether it still may. */
const ASK_MS = 50;

/**
 * Breaks off what takes too long, or whose turn is over. The controller is used again as long as nothing was broken off: pages come by
 * the thousand.
 */
export class DeliveryTimeout {
  private controller = new AbortController();

  /** @param mayGoOn false while another one ships in this one's place */
  constructor(private readonly mayGoOn: (() => boolean) | null = null) {}

  /** @throws what `work` throws, which is told by its signal when it must end */
  async limit<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { controller, mayGoOn } = this;
    const late = `not delivered within ${DELIVERY_LIMIT_MS / 1_000} s`;
    const timer = setTimeout(() => this.breakOff(controller, late), DELIVERY_LIMIT_MS);
    const ask = () => mayGoOn?.() === false && this.breakOff(controller, 'another one ships now');
    const asking = mayGoOn === null ? null : setInterval(ask, ASK_MS);
    try {
      return await work(controller.signal);
    } finally {
      clearTimeout(timer);
      if (asking !== null) clearInterval(asking);
    }
  }

  abort(reason: string): void {
    this.controller.abort(new Error(reason));
  }

  private breakOff(controller: AbortController, reason: string): void {
    if (controller.signal.aborted) return;
    this.controller = new AbortController();
    controller.abort(new Error(reason));
  }
}
