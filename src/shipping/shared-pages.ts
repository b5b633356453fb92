import type { AuditEvent, SourceName } from '../audit/event.js';
import type { MemoryPool, MessageMemory, Messages } from '../sinks/messages.js';
import type { CollectedRows, SinkInput } from './page-collector.js';

/**
 * Rows of a page; the limit in bytes keeps a page of 1 MB rows small. Opening, preparing and one transaction per sink cost 2 ms a page:
 * 2 µs a row with pages of 1,000, of the 9 µs that it takes to ship one. A page occupies the thread for about 20 ms.
 */
export const PAGE_ROWS = 4_000;
export const PAGE_BYTES = 4 * 2 ** 20;
/** Sinks at the same position share a page, and one that is a few pages behind still finds its own. A page that all have passed is dropped. */
export const PAGES_KEPT = 4;

/** A page of the table, shared by all sinks. */
export interface FeedPage {
  readonly source: SourceName;
  readonly timeline: number;
  /** The highest id of the page. */
  readonly upTo: number;
  /** Number of rows: 0 if all up to `upTo` were deleted. */
  readonly length: number;
  /** The lowest row id. */
  readonly first: number;
  /** The versions of edited rows among them. */
  readonly versions: ReadonlySet<number>;
  /** Null if no sink near this page needs events. */
  readonly events: readonly AuditEvent[] | null;
  /** Messages of the rows that pass the filters of the sinks near this page, by `SinkInput.key`. */
  readonly messages: ReadonlyMap<string, Messages>;
}

export function pageOf(
  source: SourceName,
  timeline: number,
  upTo: number,
  { length, first, versions, events, messages }: CollectedRows,
): FeedPage {
  return { source, timeline, upTo, length, first, versions, events, messages };
}

interface Shared {
  readonly after: number;
  readonly page: FeedPage;
  readonly memories: readonly MessageMemory[];
  /** Loops that are working on it. */
  loops: number;
}

/**
 * The latest pages of one timeline, for the sinks that still need them.
 *
 * The memory of a page's messages is reused after no sink needs the page and each loop that used it has released it. A failed loop never
 * releases it, so that no bytes are overwritten that its sink may still use.
 */
export class SharedPages {
  private pages: Shared[] = [];
  /** Dropped pages on which a loop is still working. */
  private readonly leaving = new Set<Shared>();

  constructor(private readonly pool: MemoryPool) {}

  /** The highest id of the newest page; null if there is none. */
  get upTo(): number | null {
    return this.pages.at(-1)?.page.upTo ?? null;
  }

  /** The page above `after`, if it has a sink's input. @param isRetry only one that can't have grown since it was read */
  find(after: number, input: SinkInput, isRetry = false): FeedPage | null {
    const isFound = ({ after: at, page }: Shared) =>
      at === after && serves(page, input) && !(isRetry && page.length < PAGE_ROWS);
    return this.pages.find(isFound)?.page ?? null;
  }

  /** Whether these pages lead from one position to another: a sink at the first will come to the second. */
  lead(from: number, to: number): boolean {
    let at = from;
    for (let page = 0; page < PAGES_KEPT && at !== to; page++)
      at = this.pages.find(({ after }) => after === at)?.page.upTo ?? at;
    return at === to;
  }

  add(after: number, page: FeedPage, memories: readonly MessageMemory[]): void {
    this.pages.push({ after, page, memories, loops: 0 });
    if (this.pages.length > PAGES_KEPT) this.drop(this.pages[0]);
  }

  /** Marks a page as in use by a loop. */
  take(page: FeedPage): void {
    const found = this.pages.find((shared) => shared.page === page);
    if (found !== undefined) found.loops++;
  }

  /** Releases a page after a loop has delivered it. */
  release(page: FeedPage): void {
    const found = [...this.pages, ...this.leaving].find((shared) => shared.page === page);
    if (found === undefined) return;
    found.loops--;
    if (this.leaving.has(found)) this.reuse(found);
  }

  dropUnless(isWanted: (page: FeedPage) => boolean): void {
    for (const shared of this.pages) if (!isWanted(shared.page)) this.drop(shared);
  }

  private drop(shared: Shared | undefined): void {
    if (shared === undefined) return;
    this.pages = this.pages.filter((other) => other !== shared);
    // After failures there may be many: they are left to the garbage collector.
    if (this.leaving.size > PAGES_KEPT) this.leaving.clear();
    this.leaving.add(shared);
    this.reuse(shared);
  }

  private reuse(shared: Shared): void {
    if (shared.loops > 0) return;
    this.leaving.delete(shared);
    for (const memory of shared.memories) this.pool.give(memory);
  }
}

/** Whether a page has a sink's input. */
function serves({ length, events, messages }: FeedPage, { key, encoder }: SinkInput): boolean {
  if (length === 0) return true;
  return encoder === null ? events !== null : messages.has(key);
}
