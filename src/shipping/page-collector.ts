import type { AuditEvent } from '../audit/event.js';
import type { EventsFilter } from '../config/schema.js';
import {
  type Encoder,
  encode,
  type MemoryPool,
  MessageBuffer,
  type MessageMemory,
  type Messages,
} from '../sinks/messages.js';
import type { RowConsumer } from '../source/source.js';
import type { ReadRow } from './edit-watch.js';
import { whyRejected } from './event-filter.js';
import type { FingerprintRun } from './fingerprints.js';
import type { FirstReadObserver } from './first-read.js';
import { type RememberedRow, recentOf } from './recent-rows.js';

/** The input that a sink needs from a page: the events themselves, or messages of those that pass its filter. */
export interface SinkInput {
  /** Equal for sinks with equal inputs. */
  readonly key: string;
  /** Null: the events, filtered later. */
  readonly encoder: Encoder | null;
  readonly filter: EventsFilter | undefined;
}

/** The key of sinks that need events. */
const EVENTS = 'events';

export function sinkInput(encoder: Encoder | null, filter: EventsFilter | undefined): SinkInput {
  const key = encoder === null ? EVENTS : `${encoder.key} ${JSON.stringify(filter ?? null)}`;
  return { key, encoder, filter };
}

/** A page with more rows is part of a backlog: only some of its rows are remembered, and no event is kept. */
const BACKLOG_ROWS = 1_000;

/** The results of collecting a page. */
export interface CollectedRows {
  readonly length: number;
  readonly first: number;
  readonly last: ReadRow | null;
  /** Rows that had been read before and may have been edited. */
  readonly known: readonly ReadRow[];
  /** The new rows, to be remembered; of more than 1,000 only the last few. */
  readonly recent: readonly RememberedRow[];
  /** The versions of edited rows among them. */
  readonly versions: ReadonlySet<number>;
  /** All rows as events; null if not requested. */
  readonly events: readonly AuditEvent[] | null;
  /** All rows as events, if there are at most 1,000 and no backlog comes before them; otherwise empty. */
  readonly newest: readonly AuditEvent[];
  readonly messages: ReadonlyMap<string, Messages>;
  readonly memories: readonly MessageMemory[];
}

/** A page without rows. */
export const NO_ROWS: CollectedRows = {
  length: 0,
  first: 0,
  last: null,
  known: [],
  recent: [],
  versions: new Set(),
  events: [],
  newest: [],
  messages: new Map(),
  memories: [],
};

export interface CollectorOptions {
  readonly inputs: readonly SinkInput[];
  /** Rows above this one are new. */
  readonly mark: number;
  /** Rows from this one on may be edited. */
  readonly lowestRecent: number;
  /** Receives the new rows. */
  readonly run: FingerprintRun;
  /** Rows of the page before were left out, and more follow: few of this page are remembered, however short it is. */
  readonly inBacklog: boolean;
  /** Keeps every event, even if no sink takes events. */
  readonly keepsEvents: boolean;
  /** Creates no messages yet: rows may have to be replaced by their original values. */
  readonly encodesLater: boolean;
  /** Receives the new rows. */
  readonly observer?: FirstReadObserver;
  readonly pool: MemoryPool;
}

/** The messages for sinks with equal inputs. */
interface Collecting {
  readonly key: string;
  readonly filter: EventsFilter | undefined;
  readonly buffer: MessageBuffer;
}

/** Converts the rows of a page to messages while they are young, and keeps what the feed and the sinks need. */
export class PageCollector implements RowConsumer {
  private length = 0;
  private first = 0;
  private last: ReadRow | null = null;
  private known: ReadRow[] = [];
  private recent: RememberedRow[] = [];
  private readonly versions = new Set<number>();
  private newest: AuditEvent[] = [];
  private events: AuditEvent[] | null = null;
  /** Null until needed. */
  private buffers: readonly Collecting[] | null = null;

  constructor(private readonly options: CollectorOptions) {}

  begin(): void {
    const { inputs, keepsEvents, encodesLater, run, observer } = this.options;
    observer?.begin();
    this.length = 0;
    this.last = null;
    this.known = [];
    this.recent = [];
    this.versions.clear();
    this.newest = [];
    this.events = keepsEvents || encodesLater || inputs.some(({ encoder }) => encoder === null) ? [] : null;
    run.clear();
    this.discard();
  }

  take(events: readonly AuditEvent[]): void {
    this.buffers ??= this.createBuffers();
    for (const { filter, buffer } of this.buffers)
      for (const event of events) if (whyRejected(filter, event) === null) buffer.add(event);
    this.events?.push(...events);
    if (this.length === 0) this.first = events[0]?.sequence ?? 0;
    this.length += events.length;
    const last = events.at(-1);
    if (last === undefined) return;
    this.last = { sequence: last.sequence, id: last.id };
    this.note(events);
  }

  /** @returns the results; no rows may be added afterwards */
  collected(): CollectedRows {
    const { length, first, last, known, versions, events } = this;
    const buffers = this.buffers ?? [];
    return {
      length,
      first,
      last,
      known,
      versions,
      events,
      recent: this.recent,
      newest: this.newest,
      messages: new Map(buffers.map(({ key, buffer }) => [key, buffer.messages()])),
      memories: buffers.map(({ buffer }) => buffer.memory),
    };
  }

  /** Discards the results and releases their memory. */
  discard(): void {
    for (const { buffer } of this.buffers ?? []) this.options.pool.give(buffer.memory);
    this.buffers = null;
  }

  private note(events: readonly AuditEvent[]): void {
    const { mark, lowestRecent, run, inBacklog, observer } = this.options;
    const isBacklog = inBacklog || this.length > BACKLOG_ROWS;
    if (isBacklog) {
      this.recent = [];
      this.newest = [];
    } else this.newest.push(...events);
    for (const event of events) {
      const { sequence, id } = event;
      if (event.revisionOf !== null) this.versions.add(sequence);
      if (sequence > mark) {
        run.add(sequence, id);
        this.recent.push(recentOf(event));
        observer?.take(event);
      } else if (sequence >= lowestRecent) this.known.push({ sequence, id });
    }
  }

  private createBuffers(): Collecting[] {
    const { inputs, encodesLater, pool } = this.options;
    if (encodesLater) return [];
    return inputs.flatMap((one) =>
      one.encoder === null
        ? []
        : [{ key: one.key, filter: one.filter, buffer: new MessageBuffer(one.encoder, pool.take()) }],
    );
  }
}

/** The messages of kept events, by `SinkInput.key`. */
export function messagesOf(
  inputs: readonly SinkInput[],
  events: readonly AuditEvent[],
): Map<string, Messages> {
  const messages = new Map<string, Messages>();
  for (const { key, encoder, filter } of inputs) {
    if (encoder === null) continue;
    const passing = events.filter((event) => whyRejected(filter, event) === null);
    messages.set(key, encode(encoder, passing));
  }
  return messages;
}
