/**
 * The failures in fail2ban's pair of files, so that each is written once.
 *
 * There is no cursor. A failure is fresh for 50 s, so a restart (a kill, another history behind the path) meets at most the failures of
 * the last 50 s again, and all written ones are in the pair. Each is identified by (source, row id, time, address), with the address as
 * in the line. If a restored database has a row with the same id and another time, it is another failure: that database is another
 * history, and so is the row's if the highest id has fallen (`idsReused`). Within one history a row of Postern's is one failure,
 * whatever its current time and address: it may have been edited just before a crash, before the edit was recorded.
 *
 * An edited row arrives as a revision, a row of the daemon's own table. It is written if its original was not, and then represents the
 * original and each later revision. A revision that was not written is remembered as the current form of its original.
 */
import type { SourceName } from '../../audit/event.js';
import { OLDEST_MS } from './ban-eligibility.js';

/** Longer than a failure is fresh: neither a tick of the clock nor the rounding of a time to seconds ends it early. */
const KEPT_MS = OLDEST_MS + 10_000;
const PRUNE_MS = 10_000;
/**
 * Reading from the end stops after this many older lines in a row. Lines are written within 50 s of their time, so only a clock that was
 * set back and forth could put a fresh one before them.
 */
const OLD_IN_A_ROW = 5_000;

/** The failure of a line of the pair. */
export interface WrittenLine {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly time: number;
  readonly address: string;
  /** Row id of the original in `postern`, where the failure is a revision of it. */
  readonly revisionOf: number | null;
}

interface Known {
  readonly time: number;
  /** Of a clock that never goes back. */
  readonly at: number;
}

export class WrittenRows {
  private readonly failures = new Map<string, Known>();
  private readonly rows = new Map<string, Known>();
  /** Rows of Postern's, each with its history. */
  private readonly placed = new Map<string, Known>();
  private readonly revised = new Map<number, Known>();
  private pruned = performance.now();

  get size(): number {
    return this.failures.size;
  }

  /** True if the failure is in the pair, or a revision of its row does, or what the row was before. */
  has(line: Omit<WrittenLine, 'revisionOf'>): boolean {
    const { source, timeline, sequence, time, address } = line;
    if (this.hasExactly(line)) return true;
    if (source !== 'postern') return false;
    if (this.revised.has(sequence)) return true;
    if (!this.placed.has(`${timeline} ${sequence}`)) return false;
    this.addVersion(sequence, time, address);
    return true;
  }

  /** True if this very failure is in the pair. */
  hasExactly({ source, sequence, time, address }: Omit<WrittenLine, 'revisionOf'>): boolean {
    return this.failures.has(keyOf(source, sequence, time, address));
  }

  /** True if the original row, or a revision of it, was written. */
  hasOriginal(id: number): boolean {
    return this.revised.has(id) || this.rows.has(`postern ${id}`);
  }

  add({ source, timeline, sequence, time, address, revisionOf }: WrittenLine): void {
    const known = { time, at: performance.now() };
    this.failures.set(keyOf(source, sequence, time, address), known);
    this.rows.set(`${source} ${sequence}`, known);
    if (source === 'postern') this.placed.set(`${timeline} ${sequence}`, known);
    if (revisionOf !== null) {
      this.revised.set(revisionOf, known);
      this.addVersion(revisionOf, time, address);
    }
    if (known.at - this.pruned < PRUNE_MS) return;
    this.pruned = known.at;
    this.prune(time, known.at);
  }

  /** Records the present form of a row whose original was written, so that a later read does not take it for another failure. */
  addVersion(original: number, time: number, address: string): void {
    this.failures.set(keyOf('postern', original, time, address), { time, at: performance.now() });
  }

  /** @param lines of the pair, the last first; null for an invalid line */
  readBack(lines: Iterable<WrittenLine | null>, now: number): void {
    for (const known of [this.failures, this.rows, this.placed, this.revised]) known.clear();
    let old = 0;
    for (const line of lines) {
      if (line !== null && line.time >= now - KEPT_MS) {
        this.add(line);
        old = 0;
      } else if (++old > OLD_IN_A_ROW) return;
    }
  }

  private prune(now: number, ticks: number): void {
    drop(this.failures, now, ticks);
    drop(this.rows, now, ticks);
    drop(this.placed, now, ticks);
    drop(this.revised, now, ticks);
  }
}

/** Old by the clock, which may be set, and by one that is not. */
function drop<K>(known: Map<K, Known>, now: number, ticks: number): void {
  for (const [key, { time, at }] of known)
    if (time < now - KEPT_MS && ticks - at > KEPT_MS) known.delete(key);
}

function keyOf(source: SourceName, sequence: number, time: number, address: string): string {
  return `${source} ${sequence} ${time} ${address}`;
}
