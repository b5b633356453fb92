import type { SourceName } from '../../audit/event.js';
import {
  type ArchiveChain,
  type ChainReader,
  incomplete,
  missingWords,
} from '../../retention/archive/complete-chain.js';
import { offsetsOf } from '../../retention/archive/compressed-blocks.js';
import type { Block, Manifest } from '../../retention/archive/manifest.js';
import { blockLines } from '../../retention/archive/read.js';
import type { RecordedArchives } from '../../retention/recorded-archives.js';
import type { Filter } from '../filter.js';

/** A row of an archive, not yet read but for its id. */
export interface ArchivedLine {
  readonly id: number;
  readonly line: string;
  readonly manifest: Manifest;
}

/** What a query may go on without: nothing, or archives that are missing. */
export interface ShelfOptions {
  readonly chain: ChainReader;
  /** What state.db has of archives, as it is now. */
  readonly recorded: () => RecordedArchives;
  readonly allowMissing: boolean;
}

/** The archives of a directory, for one query. */
export class ArchiveIndex {
  /** Whether there were any when they were looked at last. */
  any = false;
  private readonly notes = new Set<string>();

  private recorded: RecordedArchives;

  constructor(private readonly options: ShelfOptions) {
    this.recorded = options.recorded();
  }

  /** What the answer lacks, for people; null: nothing. */
  get incomplete(): string | null {
    return this.notes.size === 0 ? null : [...this.notes].join('; ');
  }

  /** What is there now, the oldest first. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  list(): readonly Manifest[] {
    const { chain, allowMissing } = this.options;
    const { archives, ...rest } = this.read();
    const words = missingWords(chain.directory, rest);
    if (words !== null && !allowMissing) throw incomplete(words, GO_ON);
    if (words !== null) this.notes.add(words);
    this.any = archives.length > 0;
    return archives;
  }

  /** An archive that is missing may have been removed since that was asked: then it is recorded by now. */
  private read(): ArchiveChain {
    const chain = this.options.chain.read(this.recorded);
    if (chain.missing.length === 0 && chain.unrecorded === null) return chain;
    this.recorded = this.options.recorded();
    return this.options.chain.read(this.recorded);
  }

  /** The lines of a block; none of an archive that was removed meanwhile because of its age. */
  lines(manifest: Manifest, at: number, offset: number): readonly string[] {
    const { directory } = this.options.chain;
    try {
      return blockLines(directory, manifest, at, offset);
    } catch (error) {
      const isThere = this.list().some(({ sequence }) => sequence === manifest.sequence);
      if (isThere) throw error;
      return []; // removed because of its age, or missing, which may be and is noted then
    }
  }

  /** The highest id that the archives of a source have; 0 if there are none. */
  highestId(source: SourceName): number {
    return this.list()
      .filter((one) => one.source === source)
      .reduce((most, { ids }) => Math.max(most, ids.last), 0);
  }
}

/** Whether the times that an archive says of its rows are those that are read now. */
export function isReadBy({ time_zone: before }: Manifest, timeZone: string | null): boolean {
  return (before ?? null) === timeZone;
}

const GO_ON =
  'allow missing ones (--allow-missing, allow_missing=true) to go on without them, or leave archives out (--no-archives, archives=false)';

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
 * The archived rows of one source from the newest id on. A block is unpacked only when its ids are due, and not at all if
 * nothing in it can be of the time that is asked for.
 */
export class ArchivedRows {
  private readonly seen = new Set<number>();
  /** Blocks to come, those with the highest ids last. */
  private pieces: Piece[] = [];
  private readonly opened: Opened[] = [];

  /**
   * Ids below `before`.
   *
   * @param timeZone by which times without a zone are read now; null: UTC
   */
  constructor(
    private readonly shelf: ArchiveIndex,
    private readonly source: SourceName,
    private readonly filter: Pick<Filter, 'from' | 'to'>,
    private before: number,
    private readonly timeZone: string | null,
  ) {}

  /**
   * Takes in archives that have been made since. To be called after the table was read: a row that is no longer there was
   * in an archive before it was deleted.
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
        if (block[3] < this.before && this.mayHave(block, manifest))
          this.pieces.push({ manifest, block, at, offset: offsets[at] ?? 0 });
    }
    this.pieces.sort((a, b) => a.block[4] - b.block[4] || a.manifest.sequence - b.manifest.sequence);
  }

  /** The row that comes next if its id is `floor` or higher, else null. */
  peek(floor: number): ArchivedLine | null {
    for (;;) {
      const top = this.top();
      const next = this.pieces.at(-1);
      if (next === undefined || next.block[4] < floor || next.block[4] < (top?.id ?? 0)) {
        if (top === null || top.id < floor) return null;
        return { id: top.id, line: top.lines[top.at] ?? '', manifest: top.manifest };
      }
      this.open(next);
      this.pieces.pop(); // not before: opening may take longer than there is time for
    }
  }

  /** Goes on behind the row that `peek` gave. */
  skip(): void {
    const top = this.top();
    if (top === null) return;
    this.before = top.id + 1;
    if (!step(top)) this.opened.splice(this.opened.indexOf(top), 1);
  }

  /** Rows from this id on are done with, also those of archives that are made later. */
  passed(id: number): void {
    this.before = Math.min(this.before, id);
  }

  private mayHave([, , , , , first, last]: Block, manifest: Manifest): boolean {
    const { from, to } = this.filter;
    // Read by another clock, each row may have another time, or one at all.
    if ((from === null && to === null) || !isReadBy(manifest, this.timeZone)) return true;
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

  /** Of equal ids the one of the newest archive. */
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

/** To the row before. */
function step(opened: Opened): boolean {
  if (opened.at === 0) return false;
  opened.at--;
  const line = opened.lines[opened.at] ?? '';
  opened.id = Number(line.slice(HEAD.length, line.indexOf(',', HEAD.length)));
  return true;
}
