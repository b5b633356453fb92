import type Database from 'better-sqlite3';
import type { SourceName } from '../audit/event.js';
import type { IdRange } from './id-ranges.js';
import { IdSet } from './id-set.js';
import { readNote } from './state-queries.js';

/** In `meta`: the sources whose rows had been deleted before this was recorded. */
const UNKNOWN = 'accounted_unknown';

/**
 * Rows whose absence is explained: they are in an archive, or an event has reported them as missing. Any other row that was read and is no longer
 * in the table was deleted by somebody.
 *
 * Earlier releases removed rows without this record. Which ones is unknown, so rows that are missing at the first check count as
 * explained (`isUnknown`, `begin`).
 */
export class AccountedRows {
  constructor(private readonly db: Database.Database) {}

  of(source: SourceName, timeline: number): IdSet {
    const pieces = this.db
      .prepare('SELECT piece, bits FROM accounted WHERE source = ? AND timeline = ?')
      .raw()
      .all(source, timeline) as Array<[number, Buffer]>;
    return new IdSet(pieces);
  }

  /** In the transaction that is open. */
  add(source: SourceName, timeline: number, ranges: readonly IdRange[]): void {
    const read = this.db
      .prepare('SELECT bits FROM accounted WHERE source = ? AND timeline = ? AND piece = ?')
      .pluck();
    const write = this.db.prepare(
      'INSERT OR REPLACE INTO accounted (source, timeline, piece, bits) VALUES (?, ?, ?, ?)',
    );
    const fresh = new IdSet();
    for (const [first, last] of ranges) for (let id = first; id <= last; id++) fresh.add(id);
    for (const [piece, bits] of fresh.entries()) {
      const known = read.get(source, timeline, piece) as Buffer | undefined;
      write.run(source, timeline, piece, Buffer.from(bits.map((byte, at) => byte | (known?.[at] ?? 0))));
    }
  }

  /** The same of ranges that a file says, which somebody may have written: what was never read, and an id again, is passed over. */
  addSaid(source: SourceName, timeline: number, ranges: readonly IdRange[]): void {
    const read = this.db
      .prepare('SELECT max(last_id) FROM fingerprint WHERE source = ? AND timeline = ?')
      .pluck();
    const highest = Number(read.get(source, timeline) ?? 0);
    const sound: IdRange[] = [];
    let next = 1;
    for (const [first, last] of ranges) {
      const [from, to] = [Math.max(first, next), Math.min(last, highest)];
      if (from <= to) sound.push([from, to]);
      next = Math.max(next, to + 1);
    }
    this.add(source, timeline, sound);
  }

  isUnknown(source: SourceName): boolean {
    return this.unknown().includes(source);
  }

  /** From now on it is known of a source. In the transaction that is open. */
  begin(source: SourceName, timeline: number, gone: readonly IdRange[]): void {
    this.add(source, timeline, gone);
    const left = this.unknown().filter((name) => name !== source);
    this.db.prepare('UPDATE meta SET value = ? WHERE key = ?').run(left.join(' '), UNKNOWN);
  }

  private unknown(): string[] {
    return readNote(this.db, UNKNOWN)?.split(' ') ?? [];
  }
}
