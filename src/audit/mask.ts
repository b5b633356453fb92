/** Creates the replacement of a secret. */
export type Cover = (secret: string) => string;

/** Covers pieces of a text, from its beginning to its end. */
export class Covering {
  private parts = '';
  /** End of the last covered piece. */
  done = 0;

  constructor(
    readonly text: string,
    private readonly cover: Cover,
  ) {}

  /** Covers from `from` to `to`, except for what is already covered. */
  piece(from: number, to: number): void {
    const start = Math.max(from, this.done);
    if (to <= start) return;
    this.parts += this.text.slice(this.done, start) + this.cover(this.text.slice(start, to));
    this.done = to;
  }

  result(): string {
    return this.done === 0 ? this.text : this.parts + this.text.slice(this.done);
  }
}
