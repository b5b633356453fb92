const WIDTH = 30;
const EVERY_MS = 100;

/** A progress bar on a terminal; prints nothing elsewhere. */
export class ProgressBar {
  private shown = 0;

  constructor(private readonly stream: NodeJS.WriteStream | null) {}

  /**
   * @param part the part that is done, 0 to 1
   * @param words the text after the bar
   */
  show(part: number, words: () => string): void {
    const now = performance.now();
    if (this.stream?.isTTY !== true || now - this.shown < EVERY_MS) return;
    this.shown = now;
    const full = Math.round(part * WIDTH);
    const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full);
    this.stream.write(`\r${bar} ${Math.floor(part * 100)} %  ${words()}\u001b[K`);
  }

  end(): void {
    if (this.shown > 0) this.stream?.write('\r\u001b[K');
    this.shown = 0;
  }
}
