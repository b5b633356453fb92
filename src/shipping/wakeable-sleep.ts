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
    if (this.rung || this.ended) return true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = null;
    return this.rung || this.ended;
  }

  /** Until `end`, or `ms` have passed: new rows are no reason to come back earlier. */
  async pause(ms: number): Promise<void> {
    this.deaf = true;
    this.rung = false;
    await this.sleep(ms);
    this.deaf = false;
  }
}
