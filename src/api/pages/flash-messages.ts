export interface Flash {
  readonly good: boolean;
  readonly text: string;
}

const MOST = 100;

/** The result of a change, shown once on the page that follows. Kept per session, so that no link can put text into the page. */
export class Flashes {
  private readonly kept = new Map<string, Flash>();

  put(session: string, flash: Flash): void {
    this.kept.set(session, flash);
    const [oldest] = this.kept.keys();
    if (this.kept.size > MOST && oldest !== undefined) this.kept.delete(oldest);
  }

  take(session: string): Flash | null {
    const flash = this.kept.get(session) ?? null;
    this.kept.delete(session);
    return flash;
  }
}
