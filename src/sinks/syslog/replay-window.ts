/**
 * What may have to be sent again over a transport that does not acknowledge.
 *
 * TCP does not report to the sender what the collector's program has read: when a connection ends, any of the last bytes may
 * be lost in two kernels' buffers (`bytes`), and what the program had read may be lost in its memory (`age`, time that the connection
 * was up; `events` too). An event leaves the window when all three limits are past.
 *
 * Kept are positions, not bytes: the database is the buffer. Events are counted in slices of at least a sixteenth of each
 * limit, so that the note that is saved with each batch stays below 2 kB; the window is up to one slice larger than asked for.
 *
 * How a connection ended decides what is sent again:
 *   lost     an error, a timeout, a crash of this process: all of the window
 *   closed   the collector's side closed while everything was acknowledged. Linux resets instead of closing where its program
 *            leaves bytes unread, so they were read, but the program may have crashed with them: all of the window,
 *            but each event at most once for this reason. (Filebeat and HAProxy close idle connections every few minutes:
 *            without the bound they would get the whole window each time, for ever.)
 *   orderly  we closed, and the collector read to the end and closed too, alive: only what is younger than `age`.
 *
 * Retention must keep what may still have to be sent again (`undelivered`): all that the next connection begins with while there is
 * none; over a live one what was sent, or sent again, within `age`, since a quiet table would otherwise not fill `bytes` for months.
 */
import type { SourceName } from '../../audit/event.js';
import type { ResumePosition } from '../sink.js';

export interface WindowLimits {
  readonly events: number;
  readonly bytes: number;
  /** ms */
  readonly age: number;
}

/** Row ids, ascending. */
export type RowIds = readonly number[] | Float64Array;

export type Ending = 'lost' | 'closed' | 'orderly';

interface Slice {
  events: number;
  bytes: number;
  /** When its last event was first sent, ms of connected time. */
  until: number;
  /** When its first event was. */
  readonly since: number;
  /** How often it was sent and the connection then closed by the other side; 2 means twice or more. */
  closed: number;
  /** Per `source/timeline` the row id before its first event. */
  readonly before: Record<string, number>;
}

interface Note {
  readonly v: 1;
  readonly up: number;
  readonly ending: Ending | null;
  readonly ends: Record<string, number>;
  readonly slices: ReadonlyArray<readonly [number, number, number, number, number, Record<string, number>]>;
}

const SLICES = 16;

function keyOf(source: SourceName, timeline: number): string {
  return `${source}/${timeline}`;
}

export class ReplayWindow {
  private slices: Slice[] = [];
  /** Per source and timeline the last row id that was sent. */
  private ends: Record<string, number> = {};
  /** What of `ends` is still to be sent again over the present connection. */
  private readonly toResend = new Map<string, number>();
  private ending: Ending | null = null;
  private connectedMs = 0;
  /** The rows that the present connection replays, and when the last of them was sent; `until` is null while some are still to be sent. */
  private replay: { readonly start: Record<string, number>; until: number | null } | null = null;

  /** The same by age alone, in its finer slices, for `undelivered`; null where the window has no other limit, or no age. */
  private readonly young: ReplayWindow | null;

  constructor(private readonly limits: WindowLimits) {
    const { events, bytes, age } = limits;
    this.young = age > 0 && events + bytes > 0 ? new ReplayWindow({ events: 0, bytes: 0, age }) : null;
  }

  /** Restores a saved window; unreadable text gives an empty one. Unless the saved text says how the connection ended, the process crashed. */
  static restore(limits: WindowLimits, saved: string | null): ReplayWindow {
    const window = new ReplayWindow(limits);
    const note = saved === null ? null : parseNote(saved);
    if (note === null) return window;
    window.connectedMs = note.up;
    window.ends = { ...note.ends };
    window.slices = note.slices.map(([events, bytes, since, until, closed, before]) => ({
      events,
      bytes,
      since,
      until,
      closed,
      before: { ...before },
    }));
    window.ending = note.ending ?? 'lost';
    return window;
  }

  get events(): number {
    return this.slices.reduce((sum, slice) => sum + slice.events, 0);
  }

  get bytes(): number {
    return this.slices.reduce((sum, slice) => sum + slice.bytes, 0);
  }

  /** Counts connected time, the measure of age. */
  addConnectedTime(ms: number): void {
    this.connectedMs += Math.max(0, ms);
    this.young?.addConnectedTime(ms);
  }

  /** The events of these rows, `bytes` long in all, have been handed to the kernel. */
  add(source: SourceName, timeline: number, sequences: RowIds, bytes: number): void {
    const key = keyOf(source, timeline);
    const last = sequences.at(-1) ?? 0;
    const end = this.ends[key] ?? 0;
    const toResend = this.toResend.get(key);
    if (toResend !== undefined && last >= toResend) {
      this.toResend.delete(key);
      if (this.replay !== null && this.toResend.size === 0) this.replay.until = this.connectedMs;
    }
    if (last <= end) return; // sent again: the window has it already
    let first = 0;
    while ((sequences[first] ?? Number.POSITIVE_INFINITY) <= end) first++;
    const fresh = sequences.length - first;
    this.ends[key] = last;
    this.append(key, (sequences[first] ?? 1) - 1, fresh, Math.floor((bytes * fresh) / sequences.length));
    this.trim();
    this.young?.add(source, timeline, first === 0 ? sequences : sequences.slice(first), 0);
  }

  /** The connection has ended; `resume` acts on how it did. */
  ended(ending: Ending): void {
    // Without a connection in between nothing has changed: the worse of the two counts.
    if (this.ending !== null) {
      if (ending === 'lost') this.ending = 'lost';
      return;
    }
    this.trim();
    this.ending = ending;
    if (ending === 'closed' && this.toResend.size === 0) {
      for (const slice of this.slices) slice.closed = Math.min(2, slice.closed + 1);
      this.merge();
    }
  }

  /** True if a new connection has to begin with events that were sent before. */
  get replays(): boolean {
    return this.firstToReplay() !== null;
  }

  /** Starts a new connection. Returns where the cursors go back to, per source and timeline. */
  resume(): ResumePosition[] {
    const first = this.firstToReplay();
    this.ending = null;
    this.toResend.clear();
    this.replay = null;
    if (first === null) return [];
    const start = startOf(this.slices.slice(first));
    this.replay = { start, until: null };
    for (const key of Object.keys(start)) this.toResend.set(key, this.ends[key] ?? 0);
    return positionsOf(start);
  }

  /**
   * Per source and timeline the row id behind which rows must stay in the table though they were sent. Without a limit of age it
   * is the whole window.
   */
  undelivered(): ResumePosition[] {
    const { age } = this.limits;
    if (this.ending !== null) {
      const first = this.firstToReplay();
      return first === null ? [] : positionsOf(startOf(this.slices.slice(first)));
    }
    const isYoung = (until: number) => age === 0 || this.connectedMs - until < age;
    const { slices } = this.young ?? this;
    const start = startOf(slices.filter(({ until }) => isYoung(until)));
    const replaying = this.replay !== null && (this.replay.until === null || isYoung(this.replay.until));
    return positionsOf(replaying ? { ...start, ...this.replay?.start } : start);
  }

  /** JSON text to be saved with the cursors. */
  serialize(): string {
    const live = new Set(this.slices.flatMap((slice) => Object.keys(slice.before)));
    const note: Note = {
      v: 1,
      up: Math.round(this.connectedMs),
      ending: this.ending,
      ends: Object.fromEntries(Object.entries(this.ends).filter(([key]) => live.has(key))),
      slices: this.slices.map((s) => [
        s.events,
        s.bytes,
        Math.round(s.since),
        Math.round(s.until),
        s.closed,
        s.before,
      ]),
    };
    return JSON.stringify(note);
  }

  private append(key: string, before: number, events: number, bytes: number): void {
    const open = this.slices.at(-1);
    if (open !== undefined && !this.isFull(open) && open.closed === 0) {
      open.before[key] ??= before;
      open.events += events;
      open.bytes += bytes;
      open.until = this.connectedMs;
      return;
    }
    this.slices.push({
      events,
      bytes,
      since: this.connectedMs,
      until: this.connectedMs,
      closed: 0,
      before: { [key]: before },
    });
  }

  private isFull(slice: Slice, now = this.connectedMs): boolean {
    const { events, bytes, age } = this.limits;
    return (
      slice.events >= events / SLICES && slice.bytes >= bytes / SLICES && now - slice.since >= age / SLICES
    );
  }

  /** Joins neighbours that are treated alike, so that a connection closed after each event does not make a slice of each. */
  private merge(): void {
    const merged: Slice[] = [];
    for (const slice of this.slices) {
      const left = merged.at(-1);
      if (left === undefined || left.closed !== slice.closed || this.isFull(left, left.until)) {
        merged.push(slice);
        continue;
      }
      left.events += slice.events;
      left.bytes += slice.bytes;
      left.until = slice.until;
      for (const [key, before] of Object.entries(slice.before)) left.before[key] ??= before;
    }
    this.slices = merged;
  }

  /** Drops slices of which each limit holds without them. */
  private trim(): void {
    let { events, bytes } = this;
    let keep = 0;
    for (const slice of this.slices) {
      events -= slice.events;
      bytes -= slice.bytes;
      if (
        events < this.limits.events ||
        bytes < this.limits.bytes ||
        this.connectedMs - slice.until < this.limits.age
      )
        break;
      keep++;
    }
    if (keep > 0) this.slices.splice(0, keep);
  }

  /** Index of the first slice that must be sent again; null if none must. */
  private firstToReplay(): number | null {
    if (this.ending === null) return null;
    const index = this.slices.findIndex((slice) => {
      const young = this.connectedMs - slice.until < this.limits.age;
      if (this.ending === 'lost') return true;
      return this.ending === 'closed' ? young || slice.closed < 2 : young;
    });
    return index < 0 ? null : index;
  }
}

function startOf(slices: readonly Slice[]): Record<string, number> {
  const start: Record<string, number> = {};
  for (const slice of slices) for (const [key, before] of Object.entries(slice.before)) start[key] ??= before;
  return start;
}

/**
 * Rows of a later timeline that were sent because an earlier one had lacked them are behind those of the earlier one: where
 * that goes back, the later one is walked again from its beginning, and what the sink has had of it is left out by fingerprint.
 */
function positionsOf(start: Record<string, number>): ResumePosition[] {
  const positions = Object.entries(start)
    .map(([key, upTo]) => {
      const [source, timeline] = key.split('/');
      return { source: source as SourceName, timeline: Number(timeline), upTo, found: [] };
    })
    .sort((a, b) => a.timeline - b.timeline);
  return positions.map((position) => {
    const earlier = positions.some(
      (other) => other.source === position.source && other.timeline < position.timeline,
    );
    return earlier ? { ...position, upTo: 0 } : position;
  });
}

function parseNote(saved: string): Note | null {
  try {
    const note = JSON.parse(saved) as Note;
    const sound =
      note.v === 1 && Number.isFinite(note.up) && Array.isArray(note.slices) && typeof note.ends === 'object';
    return sound && note.slices.every((slice) => Array.isArray(slice) && typeof slice[5] === 'object')
      ? note
      : null;
  } catch {
    return null;
  }
}
