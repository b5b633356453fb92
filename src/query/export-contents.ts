import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { SourceName } from '../audit/event.js';
import { CSV_HEADER } from './csv.js';

// The contents of an export file, read from its bytes alone: when it is created, and again when it is verified.

/** Ids of one source. */
export interface IdsOf {
  readonly entries: number;
  readonly first: number;
  readonly last: number;
  /** Entries with the id of another entry: of an earlier history of the database. */
  readonly repeated: number;
  /** Ids between the first and the last that no entry has. */
  readonly missing: number;
  /** The gaps, the lowest first, both ends included. At most `MOST_GAPS`. */
  readonly gaps: ReadonlyArray<readonly [from: number, to: number]>;
}

export interface ExportContents {
  readonly bytes: number;
  readonly sha256: string;
  readonly entries: number;
  readonly ids: Partial<Record<SourceName, IdsOf>>;
  /** Whether its last line reports missing entries. */
  readonly incomplete: boolean;
}

export type FileFormat = 'ndjson' | 'csv';

/** The file is not an unchanged export. */
export class NoExport extends Error {}

export const MOST_GAPS = 1_000;
const READ_AT_ONCE = 1024 * 1024;
/** Bytes of a line that are kept: more than its id, and the whole first line of CSV. */
const HEAD = 160;
const NEWLINE = 10;
const QUOTE = 34;

const FORMS = {
  ndjson: { entry: /^\{"id":"(postern|auditd):(-?\d{1,16})",/, trailer: /^\{"incomplete":/ },
  csv: { entry: /^(postern|auditd):(-?\d{1,16}),/, trailer: /^"?INCOMPLETE: / },
} as const;

/** Reads an export in constant memory, apart from the gaps. @throws NoExport, errors of the file */
export async function contentsOfExport(file: FileHandle, format: FileFormat): Promise<ExportContents> {
  const hash = createHash('sha256');
  const lines = new Lines(format);
  const buffer = Buffer.allocUnsafe(READ_AT_ONCE);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, bytes);
    if (bytesRead === 0) break;
    const read = buffer.subarray(0, bytesRead);
    hash.update(read);
    lines.take(read);
    bytes += bytesRead;
  }
  return lines.end(bytes, hash);
}

/** Finds the beginning of each line. A line of CSV may have line breaks inside quotes. */
class Lines {
  private readonly ids = new Map<SourceName, IdRuns>();
  private head = '';
  private begun = false;
  private quoted = false;
  private number = 0;
  private entries = 0;
  private incomplete = false;

  constructor(private readonly format: FileFormat) {}

  take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline === -1 ? bytes.length : newline + 1;
      this.begun = true;
      if (this.head.length < HEAD)
        this.head += bytes.toString('latin1', at, Math.min(end, at + HEAD - this.head.length));
      if (this.format === 'csv' && isOdd(bytes, at, end)) this.quoted = !this.quoted;
      if (newline !== -1 && !this.quoted) this.endLine();
      at = end;
    }
  }

  end(bytes: number, hash: Hash): ExportContents {
    if (this.begun) throw new NoExport('its last line is incomplete');
    if (this.format === 'csv' && this.number === 0) throw new NoExport('its header line is missing');
    const ids = Object.fromEntries([...this.ids].map(([source, runs]) => [source, runs.all()]));
    const { entries, incomplete } = this;
    return { bytes, sha256: hash.digest('hex'), entries, ids, incomplete };
  }

  private endLine(): void {
    const { head } = this;
    this.number++;
    this.head = '';
    this.begun = false;
    if (this.incomplete) throw new NoExport(`line ${this.number} follows the last line of an export`);
    if (this.format === 'csv' && this.number === 1) {
      if (head !== CSV_HEADER) throw new NoExport('its first line is not the header of an export');
      return;
    }
    const { entry, trailer } = FORMS[this.format];
    const [, source, id] = entry.exec(head) ?? [];
    if (source !== undefined) {
      this.entries++;
      this.idsOf(source as SourceName).add(Number(id));
    } else if (trailer.test(head)) this.incomplete = true;
    else throw new NoExport(`line ${this.number} is not an entry`);
  }

  private idsOf(source: SourceName): IdRuns {
    const known = this.ids.get(source);
    if (known !== undefined) return known;
    const runs = new IdRuns();
    this.ids.set(source, runs);
    return runs;
  }
}

function isOdd(bytes: Buffer, from: number, to: number): boolean {
  let odd = false;
  for (let at = bytes.indexOf(QUOTE, from); at !== -1 && at < to; at = bytes.indexOf(QUOTE, at + 1))
    odd = !odd;
  return odd;
}

/** Collects ids as runs without gaps: most ids are one below the id before. */
class IdRuns {
  private readonly runs: Array<[from: number, to: number]> = [];
  private entries = 0;

  add(id: number): void {
    this.entries++;
    const last = this.runs.at(-1);
    if (last !== undefined && id === last[0] - 1) last[0] = id;
    else if (last !== undefined && id === last[1] + 1) last[1] = id;
    else this.runs.push([id, id]);
  }

  all(): IdsOf {
    const [begin = [0, 0], ...rest] = this.runs.sort(([a], [b]) => a - b);
    let [covered, distinct, missing] = [begin[1], begin[1] - begin[0] + 1, 0];
    const gaps: Array<[number, number]> = [];
    for (const [from, to] of rest) {
      if (from > covered + 1) {
        missing += from - covered - 1;
        if (gaps.length < MOST_GAPS) gaps.push([covered + 1, from - 1]);
      }
      distinct += Math.max(0, to - Math.max(covered, from - 1));
      covered = Math.max(covered, to);
    }
    const { entries } = this;
    return { entries, first: begin[0], last: covered, repeated: entries - distinct, missing, gaps };
  }
}
