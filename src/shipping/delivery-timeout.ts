/** A delivery that takes longer is aborted and retried; a sink that still hangs then fails the watchdog. */
export const DELIVERY_LIMIT_MS = 60_000;
/** How often a delivery that is under way is checked against `isActive`. */
const ASK_MS = 50;

/**
 * Aborts a delivery that takes too long, or that another server has taken over. The controller is reused until something is aborted: pages
 * come by the thousand.
 */
export class DeliveryTimeout {
  private controller = new AbortController();

  /** @param isActive false while another server ships instead of this one */
  constructor(private readonly isActive: (() => boolean) | null = null) {}

  /** @throws what `work` throws; its signal says when it must end */
  async limit<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { controller, isActive } = this;
    const late = `not delivered within ${DELIVERY_LIMIT_MS / 1_000} s`;
    const timer = setTimeout(() => this.abortDelivery(controller, late), DELIVERY_LIMIT_MS);
    const ask = () => isActive?.() === false && this.abortDelivery(controller, 'another server ships now');
    const asking = isActive === null ? null : setInterval(ask, ASK_MS);
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

  private abortDelivery(controller: AbortController, reason: string): void {
    if (controller.signal.aborted) return;
    this.controller = new AbortController();
    controller.abort(new Error(reason));
  }
}
