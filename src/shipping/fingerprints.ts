import type Database from 'better-sqlite3';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { HighWaterMark } from '../source/source.js';

/** Hex digits of a fingerprint: 8 bytes of the `event.id`. */
const DIGITS = 16;
/** A stored batch below this size is filled up by the next rows instead of making a new one: live rows come one by one. */
const SMALL = 128;
/** Batches whose ids are read at a time. */
const AT_ONCE = 100;

type SourceMark = HighWaterMark & { source: SourceName };

export interface Pending {
  readonly source: SourceName;
  readonly timeline: number;
  readonly run: FingerprintRun;
}

/** Rows of one run. */
const RUN_ROWS = 4_096;
/** Runs that wait to be used again. */
const FREE_RUNS = 4;

/** Rows that were read, ids ascending: what is remembered of them. Its memory is used again, so that a backlog leaves nothing for the garbage collector. */
export class FingerprintRun {
  private readonly sequences = new Float64Array(RUN_ROWS);
  /** Hex digits. */
  private readonly digits = Buffer.allocUnsafeSlow(RUN_ROWS * DIGITS);
  private count = 0;

  get length(): number {
    return this.count;
  }

  get isFull(): boolean {
    return this.count === RUN_ROWS;
  }

  clear(): void {
    this.count = 0;
  }

  /** @param id its `event.id` */
  add(sequence: number, id: string): void {
    this.sequences[this.count] = sequence;
    this.digits.write(id, this.count * DIGITS, DIGITS, 'latin1');
    this.count++;
  }

  /** Adds all rows of another run, if there is room. */
  append({ sequences, digits, count }: FingerprintRun): boolean {
    if (this.count + count > RUN_ROWS) return false;
    this.sequences.set(sequences.subarray(0, count), this.count);
    digits.copy(this.digits, this.count * DIGITS, 0, count * DIGITS);
    this.count += count;
    return true;
  }

  idAt(at: number): number {
    return this.sequences[at] ?? 0;
  }

  printAt(at: number): string {
    return this.digits.toString('latin1', at * DIGITS, (at + 1) * DIGITS);
  }

  indexOf(sequence: number): number {
    return this.sequences.subarray(0, this.count).indexOf(sequence);
  }

  ids(): number[] {
    return Array.from(this.sequences.subarray(0, this.count));
  }

  prints(): Buffer {
    return Buffer.from(this.digits.toString('latin1', 0, this.count * DIGITS), 'hex');
  }
}

interface StoredBatch {
  readonly first: number;
  readonly last: number;
  readonly ids: Buffer | null;
  readonly prints: Buffer;
}

/**
 * What was ever read of each source, 8 bytes a row, never overwritten.
 *
 * A batch is a run of ascending ids of one timeline: their fingerprints in a row, and the ids besides unless they are
 * contiguous. New rows are remembered until the next transaction (State.transaction), which writes them before
 * any cursor that depends on them moves.
 */
export class Fingerprints {
  private pending: Pending[] = [];
  private readonly free: FingerprintRun[] = [];
  private readonly insert: Database.Statement;
  private readonly tail: Database.Statement;
  private readonly remove: Database.Statement;
  private readonly overlapping: Database.Statement;
  private readonly lastId: Database.Statement;
  private readonly behind: Database.Statement;

  constructor(db: Database.Database) {
    this.insert = db.prepare(
      'INSERT OR REPLACE INTO fingerprint (source, timeline, first_id, last_id, ids, prints) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.tail = db.prepare(
      `SELECT first_id AS first, last_id AS last, ids, prints FROM fingerprint
       WHERE source = ? AND timeline = ? ORDER BY first_id DESC LIMIT 1`,
    );
    this.remove = db.prepare('DELETE FROM fingerprint WHERE source = ? AND timeline = ? AND first_id = ?');
    this.overlapping = db.prepare(
      `SELECT first_id AS first, last_id AS last, ids, prints FROM fingerprint
       WHERE source = ? AND timeline = ? AND first_id <= ? AND first_id >= coalesce(
         (SELECT max(first_id) FROM fingerprint WHERE source = ? AND timeline = ? AND first_id <= ?), 0)
       ORDER BY first_id`,
    );
    this.lastId = db
      .prepare(
        'SELECT last_id FROM fingerprint WHERE source = ? AND timeline = ? ORDER BY first_id DESC LIMIT 1',
      )
      .pluck();
    this.behind = db.prepare(
      `SELECT first_id AS first, last_id AS last, ids FROM fingerprint WHERE source = ? AND timeline = ? AND first_id > ?
       ORDER BY first_id LIMIT ?`,
    );
  }

  /** Remembers rows that were read, ids ascending and above all recorded before in this timeline. */
  record(
    source: SourceName,
    timeline: number,
    rows: ReadonlyArray<Pick<AuditEvent, 'sequence' | 'id'>>,
  ): void {
    if (rows.length === 0) return;
    let run = this.newRun();
    for (const { sequence, id } of rows) {
      if (run.isFull) {
        this.recordRun(source, timeline, run);
        run = this.newRun();
      }
      run.add(sequence, id);
    }
    this.recordRun(source, timeline, run);
  }

  /** An empty run, for `recordRun` or `release`. */
  newRun(): FingerprintRun {
    return this.free.pop() ?? new FingerprintRun();
  }

  /** Remembers the rows of a run, ids ascending and above all recorded before in this timeline. The run is no longer the caller's. */
  recordRun(source: SourceName, timeline: number, run: FingerprintRun): void {
    const open = this.pending.at(-1);
    if (run.length === 0 || (open?.source === source && open.timeline === timeline && open.run.append(run)))
      this.release([run]);
    else this.pending.push({ source, timeline, run });
  }

  /** Of runs that were written, or not used. */
  release(runs: readonly FingerprintRun[]): void {
    for (const run of runs) {
      run.clear();
      if (this.free.length < FREE_RUNS) this.free.push(run);
    }
  }

  /** Takes what is remembered, to be written by `write` in a transaction, or given back by `putBack` if that fails. */
  take(): readonly Pending[] {
    const taken = this.pending;
    this.pending = [];
    return taken;
  }

  putBack(taken: readonly Pending[]): void {
    this.pending = [...taken, ...this.pending];
  }

  /** Called inside a transaction. `onMark` gets the newest mark of each timeline touched. */
  write(taken: readonly Pending[], onMark: (mark: SourceMark) => void): void {
    for (const { source, timeline, run } of taken) {
      this.store(source, timeline, run.ids(), run.prints());
      const last = run.length - 1;
      onMark({ source, timeline, id: run.idAt(last), fingerprint: run.printAt(last) });
    }
  }

  /** The fingerprint recorded for a row, or null. */
  of(source: SourceName, timeline: number, id: number): string | null {
    for (const { source: s, timeline: t, run } of this.pending) {
      if (s !== source || t !== timeline) continue;
      const at = run.indexOf(id);
      if (at >= 0) return run.printAt(at);
    }
    let found: string | null = null;
    this.each(source, timeline, id, id, (_, print) => {
      found = print;
    });
    return found;
  }

  /** Calls back for each recorded row with `from` ≤ id ≤ `to`, ascending. Only what is written, not what is remembered. */
  each(
    source: SourceName,
    timeline: number,
    from: number,
    to: number,
    onRow: (id: number, fingerprint: string) => void,
  ): void {
    const batches = this.overlapping.all(source, timeline, to, source, timeline, from) as StoredBatch[];
    for (const batch of batches) {
      if (batch.last < from) continue;
      const ids = idsOf(batch);
      const prints = batch.prints.toString('hex');
      for (let at = 0; at < ids.length; at++) {
        const id = ids[at] ?? 0;
        if (id >= from && id <= to) onRow(id, prints.slice(at * DIGITS, (at + 1) * DIGITS));
      }
    }
  }

  /**
   * Calls back for the ids of some batches, ascending. Only of what is written.
   *
   * @param behind what the call before returned; at first 0
   * @returns null if there are no more
   */
  someIds(source: SourceName, timeline: number, behind: number, onId: (id: number) => void): number | null {
    const batches = this.behind.all(source, timeline, behind, AT_ONCE) as Array<Omit<StoredBatch, 'prints'>>;
    for (const batch of batches) for (const id of idsOf(batch)) onId(id);
    return batches.length < AT_ONCE ? null : (batches.at(-1)?.first ?? null);
  }

  /** The newest row of a timeline that is only remembered; null if there is none. */
  unflushed(source: SourceName, timeline: number): HighWaterMark | null {
    const last = this.pending.findLast(
      (pending) => pending.source === source && pending.timeline === timeline,
    );
    if (last === undefined) return null;
    const { run } = last;
    return { timeline, id: run.idAt(run.length - 1), fingerprint: run.printAt(run.length - 1) };
  }

  /** Highest recorded id of a timeline, 0 if none. */
  last(source: SourceName, timeline: number): number {
    let last = (this.lastId.get(source, timeline) as number | undefined) ?? 0;
    for (const pending of this.pending) {
      if (pending.source === source && pending.timeline === timeline)
        last = Math.max(last, pending.run.idAt(pending.run.length - 1));
    }
    return last;
  }

  private store(source: SourceName, timeline: number, newIds: readonly number[], newPrints: Buffer): void {
    let ids: readonly number[] = newIds;
    let prints = newPrints;
    const tail = this.tail.get(source, timeline) as StoredBatch | undefined;
    if (tail !== undefined && tail.prints.length < SMALL * (DIGITS / 2)) {
      ids = [...idsOf(tail), ...newIds];
      prints = Buffer.concat([tail.prints, newPrints]);
      this.remove.run(source, timeline, tail.first);
    }
    const first = ids[0] ?? 0;
    const last = ids.at(-1) ?? 0;
    const contiguous = last - first + 1 === ids.length;
    const idBytes = contiguous ? null : Buffer.from(Float64Array.from(ids).buffer);
    this.insert.run(source, timeline, first, last, idBytes, prints);
  }
}

function idsOf(batch: Omit<StoredBatch, 'prints'>): number[] {
  if (batch.ids === null) {
    return Array.from({ length: batch.last - batch.first + 1 }, (_, at) => batch.first + at);
  }
  const copy = new Uint8Array(batch.ids); // a Buffer's offset need not be a multiple of 8
  return Array.from(new Float64Array(copy.buffer));
}
