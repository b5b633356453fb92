import type { SourceName } from '../../audit/event.js';
import {
  type ArchiveChain,
  type ChainReader,
  incomplete,
  missingText,
} from '../../retention/archive/complete-chain.js';
import { offsetsOf } from '../../retention/archive/compressed-blocks.js';
import type { Block, Manifest } from '../../retention/archive/manifest.js';
import { blockLines } from '../../retention/archive/read.js';
import type { RecordedArchives } from '../../retention/recorded-archives.js';
import type { Filter } from '../filter.js';

/** A row of an archive, of which only the id has been read. */
export interface ArchivedLine {
  readonly id: number;
  readonly line: string;
  readonly manifest: Manifest;
}

/** The archives of a query, and whether archives may be missing. */
export interface ShelfOptions {
  readonly chain: ChainReader;
  /** Reads what state.db records of archives. */
  readonly recorded: () => RecordedArchives;
  readonly allowMissing: boolean;
}

/** The archives of a directory, for one query. */
export class ArchiveIndex {
  /** Whether there were archives when they were last listed. */
  any = false;
  private readonly notes = new Set<string>();

  private recorded: RecordedArchives;

  constructor(private readonly options: ShelfOptions) {
    this.recorded = options.recorded();
  }

  /** The entries that the answer lacks, as text; null if it lacks none. */
  get incomplete(): string | null {
    return this.notes.size === 0 ? null : [...this.notes].join('; ');
  }

  /** The current archives, the oldest first. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  list(): readonly Manifest[] {
    const { chain, allowMissing } = this.options;
    const { archives, ...rest } = this.read();
    const words = missingText(chain.directory, rest);
    if (words !== null && !allowMissing) throw incomplete(words, CONTINUE_WITHOUT);
    if (words !== null) this.notes.add(words);
    this.any = archives.length > 0;
    return archives;
  }

  /** Reads the chain again if an archive is missing: it may have been removed since state.db was read, and is then recorded by now. */
  private read(): ArchiveChain {
    const chain = this.options.chain.read(this.recorded);
    if (chain.missing.length === 0 && chain.unrecorded === null) return chain;
    this.recorded = this.options.recorded();
    return this.options.chain.read(this.recorded);
  }

  /** The lines of a block; empty if the archive was removed because of its age meanwhile. */
  lines(manifest: Manifest, at: number, offset: number): readonly string[] {
    const { directory } = this.options.chain;
    try {
      return blockLines(directory, manifest, at, offset);
    } catch (error) {
      const isThere = this.list().some(({ sequence }) => sequence === manifest.sequence);
      if (isThere) throw error;
      return []; // removed because of its age, or missing, which is allowed here and noted
    }
  }

  /** The highest id in the archives of a source; 0 without archives. */
  highestId(source: SourceName): number {
    return this.list()
      .filter((one) => one.source === source)
      .reduce((most, { ids }) => Math.max(most, ids.last), 0);
  }
}

/** Whether an archive's times were read with the time zone that is configured now. */
export function hasTimeZone({ time_zone: before }: Manifest, timeZone: string | null): boolean {
  return (before ?? null) === timeZone;
}

const CONTINUE_WITHOUT =
  'allow missing archives (--allow-missing, allow_missing=true), or leave archives out (--no-archives, archives=false)';

interface Piece {
  readonly manifest: Manifest;
  readonly block: Block;
  readonly at: number;
  readonly offset: number;
}

interface Opened {
  readonly manifest: Manifest;
  readonly lines: readonly string[];
  at: number;
  id: number;
}

/**
 * The archived rows of one source, the newest id first. A block is decompressed only when its ids are next, and not at all if none of its
 * rows can be within the filter's range of time.
 */
export class ArchivedRows {
  private readonly seen = new Set<number>();
  /** Blocks that are not yet open, the highest ids last. */
  private pieces: Piece[] = [];
  private readonly opened: Opened[] = [];

  /**
   * @param before rows below this id
   * @param timeZone the configured time zone of times without one; null: UTC
   */
  constructor(
    private readonly shelf: ArchiveIndex,
    private readonly source: SourceName,
    private readonly filter: Pick<Filter, 'from' | 'to'>,
    private before: number,
    private readonly timeZone: string | null,
  ) {}

  /**
   * Adds archives that were created since. To be called after the table was read: a row that is no longer in the table was archived
   * before it was deleted.
   */
  refresh(): void {
    const fresh = this.shelf
      .list()
      .filter(({ source, sequence }) => source === this.source && !this.seen.has(sequence));
    if (fresh.length === 0) return;
    for (const manifest of fresh) {
      this.seen.add(manifest.sequence);
      const offsets = offsetsOf(manifest.blocks);
      for (const [at, block] of manifest.blocks.entries())
        if (block[3] < this.before && this.mayMatch(block, manifest))
          this.pieces.push({ manifest, block, at, offset: offsets[at] ?? 0 });
    }
    this.pieces.sort((a, b) => a.block[4] - b.block[4] || a.manifest.sequence - b.manifest.sequence);
  }

  /** The next row if its id is at least `floor`, else null. */
  peek(floor: number): ArchivedLine | null {
    for (;;) {
      const top = this.top();
      const next = this.pieces.at(-1);
      if (next === undefined || next.block[4] < floor || next.block[4] < (top?.id ?? 0)) {
        if (top === null || top.id < floor) return null;
        return { id: top.id, line: top.lines[top.at] ?? '', manifest: top.manifest };
      }
      this.open(next);
      this.pieces.pop(); // not before it is open: opening may exceed the time limit
    }
  }

  /** Moves past the row that `peek` returned. */
  skip(): void {
    const top = this.top();
    if (top === null) return;
    this.before = top.id + 1;
    if (!step(top)) this.opened.splice(this.opened.indexOf(top), 1);
  }

  /** Excludes rows from this id on, also those of archives that are created later. */
  excludeFrom(id: number): void {
    this.before = Math.min(this.before, id);
  }

  private mayMatch([, , , , , first, last]: Block, manifest: Manifest): boolean {
    const { from, to } = this.filter;
    // In another time zone, each row may have another time.
    if ((from === null && to === null) || !hasTimeZone(manifest, this.timeZone)) return true;
    return first !== null && last !== null && (from === null || last >= from) && (to === null || first < to);
  }

  private open({ manifest, at, offset }: Piece): void {
    const lines = this.shelf.lines(manifest, at, offset);
    const opened: Opened = { manifest, lines, at: lines.length, id: 0 };
    while (step(opened)) {
      if (opened.id < this.before) {
        this.opened.push(opened);
        return;
      }
    }
  }

  /** The open block with the highest id; of equal ids, that of the newest archive. */
  private top(): Opened | null {
    let best: Opened | null = null;
    for (const one of this.opened) {
      if (
        best === null ||
        one.id > best.id ||
        (one.id === best.id && one.manifest.sequence > best.manifest.sequence)
      )
        best = one;
    }
    return best;
  }
}

const HEAD = '{"id":';

/** Moves to the row before. */
function step(opened: Opened): boolean {
  if (opened.at === 0) return false;
  opened.at--;
  const line = opened.lines[opened.at] ?? '';
  opened.id = Number(line.slice(HEAD.length, line.indexOf(',', HEAD.length)));
  return true;
}
