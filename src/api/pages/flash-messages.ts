export interface Flash {
  readonly good: boolean;
  readonly text: string;
}

const MOST = 100;

/** What has just been done, to be told once, on the page that follows. By session, so that no address can put words into the page. */
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
