import type { Database } from 'better-sqlite3';
import type { AuditEvent } from '../audit/event.js';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { keepsWriterOut } from '../source/journal-mode.js';
import type { RowCursor } from './archives/table-with-archives.js';
import { CSV_HEADER, csvLine } from './csv.js';
import { entryLine, entryObject } from './entry.js';
import { trailer } from './incomplete-trailer.js';
import type { Versions } from './plan/versions.js';
import { Merge } from './scan/merge-sources.js';

export interface Chunk {
  /** UTF-8, valid until the next chunk but one is requested. */
  readonly bytes: Uint8Array;
  readonly rows: number;
  /** Progress by ids, 0 to 1. */
  readonly progress: number;
  /** In the last chunk: the entries that the export lacks because archives are missing, as text. */
  readonly incomplete?: string | null;
}

export interface ExportOptions {
  readonly stepMs: number;
  /** Opens the database of a row cursor for `work`. */
  readonly reading: (cursor: RowCursor, work: (db: Database) => void) => void;
  /** Finds the versions of entries; null if there are no versions. */
  readonly versionsOf: ((events: readonly AuditEvent[]) => Versions) | null;
  /** Called at the end: the entries that the export lacks, or null. */
  readonly incomplete: () => string | null;
}

/** `json`: one object, like a page. */
export type Format = 'json' | 'ndjson' | 'csv';

/** Size from which a chunk is full. A longer row has a chunk of its own. Each chunk opens the database once, which takes half a millisecond. */
const CHUNK = 2 * 1024 * 1024;
const ROOM = CHUNK + 64 * 1024;
/** A chunk ends after this long, even empty: other queries wait, and a filter may match one row in ten million. */
const QUIET_MS = 250;
/** Characters encoded at a time. Row by row takes a twentieth longer. */
const PIECE = 16 * 1024;
/** Rows that are in memory as objects at the same time: they are turned into text before the next ones are read. */
const SLICE = 128;

/**
 * Rows as text, the newest first, in chunks that are filled in two buffers in turn. Between two chunks nothing is open, however long the
 * consumer takes.
 */
export function* exportRows(
  cursors: readonly RowCursor[],
  format: Format,
  { stepMs, reading, versionsOf, incomplete }: ExportOptions,
): Generator<Chunk, void> {
  const merge = new Merge(cursors, () => undefined);
  const page = new TextPage();
  const entries = new EntryWriter(merge, page, format, versionsOf);
  page.write({ json: '{"entries":[', ndjson: '', csv: CSV_HEADER }[format]);
  let written = 0;
  let quietEnd = performance.now() + QUIET_MS;
  while (!entries.ended) {
    entries.writeReady();
    const cursor = merge.dry();
    if (cursor !== null && !page.full) {
      reading(cursor, (db) => {
        if (keepsWriterOut(db)) {
          cursor.step(db, SLICE); // turned into text once the writer can write again
          return;
        }
        const end = performance.now() + stepMs;
        do {
          cursor.step(db, SLICE);
          entries.writeReady();
        } while (!page.full && merge.dry() === cursor && performance.now() < end);
      });
    }
    const { ended, total } = entries;
    if (!page.full && !ended && performance.now() < quietEnd) continue;
    const lacks = ended ? incomplete() : null;
    if (ended) page.write(endOf(format, total, lacks));
    yield {
      bytes: page.take(),
      rows: total - written,
      progress: ended ? 1 : progressOf(cursors),
      incomplete: lacks,
    };
    written = total;
    quietEnd = performance.now() + QUIET_MS;
  }
}

function endOf(format: Format, total: number, lacks: string | null): string {
  const more = lacks === null ? '' : `,"incomplete":${toSafeJson(lacks)}`;
  const end =
    format === 'json'
      ? `\n],"page":1,"limit":0,"total":${total},"total_exact":true,"next":null${more}}\n`
      : '';
  return lacks === null ? end : `${end}${trailer(format, lacks)}`;
}

/** Writes the merged rows to a page as text. Looks up the versions of several entries at a time. */
class EntryWriter {
  /** Entries written. */
  total = 0;
  /** Whether no row is left. */
  ended = false;
  private text = '';
  /** Entries whose versions are looked up together. */
  private batch: AuditEvent[] = [];
  private batchLength = 0;

  constructor(
    private readonly merge: Merge,
    private readonly page: TextPage,
    private readonly format: Format,
    private readonly versionsOf: ExportOptions['versionsOf'],
  ) {}

  /** Writes the rows that have been read, until the page is full. */
  writeReady(): void {
    const { merge, page, versionsOf } = this;
    while (!page.full && merge.dry() === null) {
      const found = merge.take();
      this.ended = found === null;
      if (found === null) break;
      const { event } = found;
      if (event === null) continue;
      if (versionsOf === null) {
        this.add(event);
        continue;
      }
      this.batch.push(event);
      this.batchLength += event.details?.length ?? 0;
      if (this.batch.length >= SLICE || this.batchLength >= PIECE) this.addBatch();
    }
    this.addBatch();
    this.flush();
  }

  private addBatch(): void {
    if (this.batch.length === 0) return;
    const versions = this.versionsOf?.(this.batch);
    for (const event of this.batch) this.add(event, versions?.(event));
    this.batch = [];
    this.batchLength = 0;
  }

  private add(event: AuditEvent, versions?: readonly AuditEvent[]): void {
    this.text += this.lineOf(event, versions);
    this.total++;
    if (this.text.length >= PIECE) this.flush();
  }

  private lineOf(event: AuditEvent, versions?: readonly AuditEvent[]): string {
    switch (this.format) {
      case 'json':
        return `${this.total === 0 ? '' : ','}\n${entryObject(event, versions)}`;
      case 'ndjson':
        return entryLine(event, versions);
      case 'csv':
        return csvLine(event);
    }
  }

  private flush(): void {
    this.page.write(this.text);
    this.text = '';
  }
}

function progressOf(cursors: readonly RowCursor[]): number {
  const [longest = 0] = cursors.map(({ position }) => position).sort((a, b) => b - a);
  return 1 - longest;
}

/** Text, encoded at once into reused memory: while one buffer is being sent, the other is filled. */
class TextPage {
  private buffer = Buffer.allocUnsafeSlow(ROOM);
  private other = Buffer.allocUnsafeSlow(ROOM);
  private length = 0;

  get full(): boolean {
    return this.length >= CHUNK;
  }

  write(text: string): void {
    const most = text.length * 3; // bytes of UTF-8 for a unit of UTF-16
    if (this.length + most > this.buffer.length) this.grow(this.length + most);
    this.length += this.buffer.write(text, this.length);
  }

  /** The text written so far. It is overwritten by the page after the next. */
  take(): Uint8Array {
    // Not a Buffer: its slice() does not copy, so sending it to another thread would transfer this memory.
    const taken = new Uint8Array(this.buffer.buffer, this.buffer.byteOffset, this.length);
    const free = this.other;
    this.other = this.buffer.length > ROOM ? Buffer.allocUnsafeSlow(ROOM) : this.buffer;
    this.buffer = free;
    this.length = 0;
    return taken;
  }

  private grow(length: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.buffer.length));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}
