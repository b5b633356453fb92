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
import { type RememberedRow, recentOf } from './recent-rows.js';

/** What a sink takes of a page: the events themselves, or messages of those that pass its filter. */
export interface SinkInput {
  /** The same for sinks that take the same. */
  readonly key: string;
  /** Null: the events, filtered later. */
  readonly encoder: Encoder | null;
  readonly filter: EventsFilter | undefined;
}

/** The key of sinks that take events. */
const EVENTS = 'events';

export function sinkInput(encoder: Encoder | null, filter: EventsFilter | undefined): SinkInput {
  const key = encoder === null ? EVENTS : `${encoder.key} ${JSON.stringify(filter ?? null)}`;
  return { key, encoder, filter };
}

/** Of a page of more rows than this only some are remembered, and no event is kept: it is part of a backlog. */
const BACKLOG_ROWS = 1_000;

/** What was made of the rows of a page. */
export interface CollectedRows {
  readonly length: number;
  readonly first: number;
  readonly last: ReadRow | null;
  /** Rows that had been read before and may be edited. */
  readonly known: readonly ReadRow[];
  /** The new ones as they are remembered; of more than 1,000 the last few. */
  readonly recent: readonly RememberedRow[];
  /** Those of them that are versions of edited rows. */
  readonly versions: ReadonlySet<number>;
  /** All of them as events; null where nobody wanted that. */
  readonly events: readonly AuditEvent[] | null;
  /** All of them as events, if they are no more than 1,000; else none. */
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
  /** Gets the new ones. */
  readonly run: FingerprintRun;
  /** Keeps every event, even if no sink takes events. */
  readonly keepsEvents: boolean;
  /** Makes no messages yet: rows may have to be replaced by what they were first. */
  readonly encodesLater: boolean;
  readonly pool: MemoryPool;
}

/** The messages for those who want the same. */
interface Collecting {
  readonly key: string;
  readonly filter: EventsFilter | undefined;
  readonly buffer: MessageBuffer;
}

/** Makes messages of the rows of a page while they are young, and keeps of them what the feed and the sinks need. */
export class PageCollector implements RowConsumer {
  private length = 0;
  private first = 0;
  private last: ReadRow | null = null;
  private known: ReadRow[] = [];
  private recent: RememberedRow[] = [];
  private readonly versions = new Set<number>();
  private newest: AuditEvent[] = [];
  private events: AuditEvent[] | null = null;
  /** Null: none was needed yet. */
  private buffers: readonly Collecting[] | null = null;

  constructor(private readonly options: CollectorOptions) {}

  begin(): void {
    const { inputs, keepsEvents, encodesLater, run } = this.options;
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

  /** @returns what was made; nothing may be taken afterwards */
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

  /** Gives the memory back: what was made is not needed. */
  discard(): void {
    for (const { buffer } of this.buffers ?? []) this.options.pool.give(buffer.memory);
    this.buffers = null;
  }

  private note(events: readonly AuditEvent[]): void {
    const { mark, lowestRecent, run } = this.options;
    const isBacklog = this.length > BACKLOG_ROWS;
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

/** The messages of events that were kept, by `SinkInput.key`. */
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
