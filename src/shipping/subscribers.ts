import type { SourceName } from '../audit/event.js';
import type { SinkInput } from './page-collector.js';
import { type FeedPage, PAGE_ROWS, PAGES_KEPT } from './shared-pages.js';

/** A loop that reads this feed. */
export interface FeedSubscriber {
  wake(): void;
  /** True while it waits for new rows. */
  idle(): boolean;
  /** True while it processes pages and reads without being woken. */
  delivering(): boolean;
  /** Its cursor in the current timeline of a source; null if it has none yet. */
  cursor(source: SourceName): number | null;
  /** The input that it needs from a page. */
  readonly input: SinkInput;
}

/** The loops that read the feed of a source, with their positions. */
export class Subscribers {
  private readonly all = new Set<FeedSubscriber>();

  constructor(private readonly source: SourceName) {}

  add(subscriber: FeedSubscriber): void {
    this.all.add(subscriber);
  }

  wake(): void {
    for (const subscriber of this.all) subscriber.wake();
  }

  isAny(state: 'idle' | 'delivering'): boolean {
    return [...this.all].some((subscriber) => subscriber[state]());
  }

  /**
   * The inputs of the sinks that read the page above `after`, or will soon. A sink in the middle of another page is not included: it
   * reads its own pages until it has caught up.
   *
   * @param asked an additional input
   * @param leadsThere whether a sink with this cursor reaches `after` over pages that are already read
   */
  inputsFor(
    after: number,
    asked: SinkInput | undefined,
    leadsThere: (cursor: number) => boolean,
  ): SinkInput[] {
    const inputs = new Map<string, SinkInput>();
    if (asked !== undefined) inputs.set(asked.key, asked);
    for (const { at, input } of this.cursors())
      if (at === after || (at < after && leadsThere(at))) inputs.set(input.key, input);
    return [...inputs.values()];
  }

  /** Whether a sink is slightly behind `after`. */
  isAnyShortlyBehind(after: number): boolean {
    const near = after - PAGES_KEPT * 8 * PAGE_ROWS;
    return this.cursors().some(({ at }) => at < after && at >= near);
  }

  /** Whether a sink still has to read this page. */
  isWanted({ upTo }: FeedPage): boolean {
    return this.cursors().some(({ at }) => at < upTo);
  }

  private cursors(): Array<{ readonly at: number; readonly input: SinkInput }> {
    return [...this.all].flatMap((subscriber) => {
      const at = subscriber.cursor(this.source);
      return at === null ? [] : [{ at, input: subscriber.input }];
    });
  }
}
