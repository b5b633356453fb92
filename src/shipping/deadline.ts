/** A delivery that takes longer is broken off and tried again; a sink that then still hangs fails the watchdog. */
export const DELIVERY_LIMIT_MS = 60_000;

/** Breaks off what takes too long. The controller is used again as long as nothing was broken off: pages come by the thousand. */
export class Deadline {
  private controller = new AbortController();

  /** @throws what `work` throws, which is told by its signal when it must end */
  async limit<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { controller } = this;
    const timer = setTimeout(() => {
      this.controller = new AbortController();
      controller.abort(new Error(`not delivered within ${DELIVERY_LIMIT_MS / 1_000} s`));
    }, DELIVERY_LIMIT_MS);
    try {
      return await work(controller.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  abort(reason: string): void {
    this.controller.abort(new Error(reason));
  }
}
