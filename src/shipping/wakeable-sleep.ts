import { ticker } from '../ticker.js';

/** A sleep that can be ended early: by new rows, unless it must not be, and by the end of the loop always. */
export class WakeableSleep {
  private rung = false;
  private deaf = false;
  private ended = false;
  private wakeUp: (() => void) | null = null;

  /** To be called before the work of a turn: what rings from now on shortens the next sleep. */
  reset(): void {
    this.rung = false;
  }

  ring(): void {
    if (this.deaf) return;
    this.rung = true;
    this.wakeUp?.();
  }

  end(): void {
    this.ended = true;
    this.wakeUp?.();
  }

  /** Until `ring` or `end`, or `ms` have passed; false if nothing but time has. */
  async sleep(ms: number): Promise<boolean> {
    return this.wait((wakeUp) => {
      const timer = setTimeout(wakeUp, ms);
      return () => clearTimeout(timer);
    });
  }

  /** As `sleep`, but together with all else that is done each `period` ms: for up to that long. */
  async rest(period: number): Promise<boolean> {
    return this.wait((wakeUp) => {
      const task = ticker.every(period, wakeUp);
      return () => task.close();
    });
  }

  /** Until `end`, or `ms` have passed: new rows are no reason to come back earlier. */
  async pause(ms: number): Promise<void> {
    this.deaf = true;
    this.rung = false;
    await this.sleep(ms);
    this.deaf = false;
  }
  private async wait(begin: (wakeUp: () => void) => () => void): Promise<boolean> {
    if (this.rung || this.ended) return true;
    await new Promise<void>((resolve) => {
      const wakeUp = () => {
        cancel();
        resolve();
      };
      const cancel = begin(wakeUp);
      this.wakeUp = wakeUp;
    });
    this.wakeUp = null;
    return this.rung || this.ended;
  }
}
