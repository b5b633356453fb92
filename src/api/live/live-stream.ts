import type { AuditEvent, SourceName } from '../../audit/event.js';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { messageOf } from '../../errors.js';
import { type Entry, entryLine } from '../../query/entry.js';
import type { Filter } from '../../query/filter.js';
import { createMatcher } from '../../query/scan/matcher.js';
import type { ApiDeps } from '../deps.js';

/** The highest row of each source that a client has received. */
export type LastSeen = Record<SourceName, number>;

/** `postern:4711,auditd:12`, which a client sends back as `Last-Event-ID`. */
function lastEventId({ postern, auditd }: LastSeen): string {
  return `postern:${postern},auditd:${auditd}`;
}

/** Null if the header is missing or not one of ours. */
export function parseLastEventId(text: string | undefined): LastSeen | null {
  const [, postern, auditd] = /^postern:(\d{1,15}),auditd:(\d{1,15})$/.exec(text ?? '') ?? [];
  return postern === undefined || auditd === undefined
    ? null
    : { postern: Number(postern), auditd: Number(auditd), fleet: 0 };
}

/** Passes each event read from the tables to the open live streams. */
export class EventBus {
  private readonly listeners = new Set<(event: AuditEvent) => void>();

  /** Whether a stream is open. */
  get isWatched(): boolean {
    return this.listeners.size > 0;
  }

  publish(events: readonly AuditEvent[]): void {
    if (this.listeners.size === 0) return;
    for (const event of events) for (const listener of this.listeners) listener(event);
  }

  /** @param listener must be quick and must not throw; @returns a function that ends the subscription */
  subscribe(listener: (event: AuditEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export interface LiveOptions {
  readonly filter: Filter;
  /** The position of a client that reconnects; null for a new client. */
  readonly lastSeen: LastSeen | null;
  /** Called before each entry and heartbeat: whether the client still has access. */
  readonly hasAccess: () => boolean;
  /** Called once. @param dropped whether the stream was ended by us */
  readonly onEnd: (dropped: boolean) => void;
}

const HEARTBEAT_MS = 15_000;
const RETRY_MS = 3_000;
/** Missed entries sent at most to a client that reconnects; a gap is reported if there are more. */
const MOST_MISSED = 1_000;
/** Bytes that may wait for a client that does not read. With more it is dropped, and reconnects by itself. */
const MOST_WAITING = 256 * 1_024;

const encoder = new TextEncoder();

/** The stream of one client. Events that arrive while missed entries are looked up are sent after them. */
export class LiveStream {
  readonly stream: ReadableStream<Uint8Array>;
  private controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  private readonly lastSeen: LastSeen;
  private readonly timelines: Record<SourceName, number>;
  private waiting: AuditEvent[] | null = null;
  private readonly matches: (event: AuditEvent) => boolean;
  private unsubscribe: () => void = () => undefined;
  private heartbeat: NodeJS.Timeout | null = null;
  /** Called when the client has read what was sent. */
  private resumeSending: () => void = () => undefined;

  constructor(
    private readonly deps: ApiDeps,
    private readonly options: LiveOptions,
  ) {
    this.matches = createMatcher(options.filter);
    const { sources } = deps.status();
    const now = { postern: sources.postern?.mark ?? 0, auditd: sources.auditd?.mark ?? 0, fleet: 0 };
    this.timelines = {
      postern: sources.postern?.timeline ?? 1,
      auditd: sources.auditd?.timeline ?? 1,
      fleet: 0,
    };
    // A restored database has lower ids; what was missed before can't be found by id then.
    const { lastSeen } = options;
    this.lastSeen =
      lastSeen === null
        ? now
        : {
            postern: Math.min(lastSeen.postern, now.postern),
            auditd: Math.min(lastSeen.auditd, now.auditd),
            fleet: 0,
          };
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => this.start(controller, lastSeen !== null),
        pull: () => this.resumeSending(),
        cancel: () => this.end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 16_384 }),
    );
  }

  private start(controller: ReadableStreamDefaultController<Uint8Array>, back: boolean): void {
    this.controller = controller;
    this.send(`retry: ${RETRY_MS}\nid: ${lastEventId(this.lastSeen)}\n\n`);
    this.heartbeat = setInterval(() => this.sendHeartbeat(), HEARTBEAT_MS);
    if (back) this.waiting = [];
    this.unsubscribe = this.deps.subscribe((event) => this.receive(event));
    if (back) void this.sendMissed();
  }

  private receive(event: AuditEvent): void {
    if (this.waiting === null) this.deliver(event);
    else if (this.waiting.length < MOST_MISSED) this.waiting.push(event);
    else this.drop(); // the client reconnects and gets `event: gap`
  }

  private deliver(event: AuditEvent): void {
    const { source, sequence, timeline } = event;
    if (timeline !== this.timelines[source]) this.lastSeen[source] = 0; // another history of the database begins
    this.timelines[source] = timeline;
    if (sequence <= this.lastSeen[source]) return;
    this.lastSeen[source] = sequence;
    if (!this.matches(event)) return;
    const json = entryLine(event).trimEnd();
    if (event.revisionOf === null) this.sendEntry(json);
    // Not a new entry: a client that counts entries has counted this one. A hub knows the row only by its id on its server.
    else
      this.sendEntry(
        `{"version_of":${source === 'auditd' ? `"postern:${event.revisionOf}"` : 'null'},${json.slice(1)}`,
        'version',
      );
  }

  /** Sends the entries that the client missed, the oldest first. */
  private async sendMissed(): Promise<void> {
    try {
      const { entries, next } = await this.deps.queries.page(this.options.filter, {
        limit: MOST_MISSED,
        count: 'none',
      });
      const missed = entries.filter((entry) => this.isNew(entry));
      if (missed.length === MOST_MISSED && next !== null) this.send('event: gap\ndata: {}\n\n');
      for (const entry of missed.reverse()) {
        const [source, id] = positionOf(entry);
        await this.waitForReader();
        this.lastSeen[source] = Math.max(this.lastSeen[source], id);
        this.sendEntry(toSafeJson(entry));
      }
    } catch (error) {
      this.deps.log.warn(
        { err: error },
        `the entries that a client missed could not be read: ${messageOf(error)}; the client gets a gap event`,
      );
      this.send('event: gap\ndata: {}\n\n');
    }
    for (let event = this.waiting?.shift(); event !== undefined; event = this.waiting?.shift()) {
      await this.waitForReader();
      this.deliver(event);
    }
    this.waiting = null;
  }

  /** Waits until the client has read what was sent. */
  private async waitForReader(): Promise<void> {
    while (this.controller !== null && (this.controller.desiredSize ?? 0) <= 0) {
      await new Promise<void>((resolve) => {
        this.resumeSending = resolve;
      });
    }
  }

  private isNew(entry: Entry): boolean {
    const [source, id] = positionOf(entry);
    return id > this.lastSeen[source];
  }

  private sendEntry(json: string, name = 'entry'): void {
    if (this.controller === null) return;
    if (this.options.hasAccess())
      this.send(`id: ${lastEventId(this.lastSeen)}\nevent: ${name}\ndata: ${json}\n\n`);
    else this.drop();
  }

  private sendHeartbeat(): void {
    if (this.options.hasAccess()) this.send(':\n\n');
    else this.drop();
  }

  private send(text: string): void {
    const { controller } = this;
    if (controller === null) return;
    if ((controller.desiredSize ?? 0) < -MOST_WAITING) {
      this.drop();
      return;
    }
    controller.enqueue(encoder.encode(text));
  }

  /** Ends the stream from our side. */
  private drop(): void {
    const { controller } = this;
    this.end(true);
    controller?.error(new Error('the client reads too slowly or has lost access'));
  }

  end(dropped = false): void {
    if (this.controller === null) return;
    this.controller = null;
    this.resumeSending();
    this.unsubscribe();
    if (this.heartbeat !== null) clearInterval(this.heartbeat);
    this.options.onEnd(dropped);
  }
}

function positionOf({ id }: Entry): ['postern' | 'auditd', number] {
  const [source, sequence] = id.split(':');
  return [source === 'auditd' ? 'auditd' : 'postern', Number(sequence)];
}
