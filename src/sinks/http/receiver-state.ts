import { z } from 'zod';
import type { HttpSinkConfig } from '../../config/http.js';
import { AuditdError } from '../../errors.js';
import type { BatchOrigin, SinkDeps, SinkFigures } from '../sink.js';
import { type AfterBreak, BrokenRequests } from './broken-requests.js';

/** An event that the receiver refuses for good. */
export interface RefusedEvent {
  readonly sequence: number;
  /** `event.id` */
  readonly id: string;
  readonly reason: string;
}

/** Refused events that one own event names; `count` is of all. */
const NAMED = 50;
/** How often refused events are logged; each is named in an own event anyway. */
const LOG_MS = 60_000;
/** The witness is saved at most so often: it changes with each request. */
const SAVE_MS = 60_000;
/** A longer witness is not saved. */
const LONGEST_WITNESS = 16_384;

const noteSchema = z.object({ v: z.literal(1), witness: z.string() });

/** What is known of a receiver from one page to the next. */
export class ReceiverState {
  /** The receiver has refused twice as much, bytes. */
  private sizeLimit: number;
  /** What breaks the connection. */
  readonly broken: BrokenRequests;
  /**
   * The message of an event that the receiver has taken. If it refuses others, this one is sent again: whether it takes it shows
   * whether the events or the configuration are the cause.
   */
  private witnessMessage: Buffer | null = null;
  private savedAt = Number.NEGATIVE_INFINITY;
  private loggedAt = Number.NEGATIVE_INFINITY;
  /** For each source and timeline: a refused event is not behind this row. */
  private readonly suspected = new Map<string, number>();
  private lastRefusal: string | null = null;
  readonly totals = { requests: 0, messages: 0, known: 0, retries: 0, refused: 0 };

  constructor(
    config: Pick<HttpSinkConfig, 'max_request'>,
    private readonly deps: SinkDeps,
  ) {
    this.sizeLimit = config.max_request;
    this.broken = new BrokenRequests(config.max_request);
  }

  /** Largest body that is sent, bytes. */
  get requestLimit(): number {
    return Math.min(this.sizeLimit, this.broken.limit);
  }

  get witness(): Buffer | null {
    return this.witnessMessage;
  }

  /** @param message is copied */
  setWitness(message: Buffer): void {
    this.witnessMessage = Buffer.from(message);
  }

  restore(saved: string | null): void {
    if (this.witnessMessage !== null || saved === null) return;
    try {
      const parsed = noteSchema.safeParse(JSON.parse(saved));
      if (parsed.success) this.witnessMessage = Buffer.from(parsed.data.witness, 'base64');
    } catch {
      // not a note of this sink: the next event that is taken becomes the witness
    }
  }

  /** The note to save; null if it need not be saved now. */
  serialize(): string | null {
    const { witnessMessage: message } = this;
    if (message === null || message.length > LONGEST_WITNESS) return null;
    if (performance.now() - this.savedAt < SAVE_MS) return null;
    this.savedAt = performance.now();
    return JSON.stringify({ v: 1, witness: message.toString('base64') });
  }

  /** The row up to which a request was refused as a whole, so that at least one of its events is the cause; null: no such request. */
  suspectedUpTo(origin: BatchOrigin): number | null {
    return this.suspected.get(keyOf(origin)) ?? null;
  }

  suspect(origin: BatchOrigin, upTo: number | null): void {
    if (upTo === null) this.suspected.delete(keyOf(origin));
    else this.suspected.set(keyOf(origin), upTo);
  }

  tooLarge(bytes: number): void {
    const limit = Math.max(1_024, Math.floor(bytes / 2));
    if (limit >= this.sizeLimit) return;
    this.sizeLimit = limit;
    this.deps.log.info({ bytes }, `the receiver refuses requests of ${bytes} bytes: smaller ones follow`);
  }

  /** @param after what follows from it */
  noteBroken(after: AfterBreak, bytes: number): void {
    if (after === 'smaller')
      this.deps.log.info({ bytes }, `requests of ${bytes} bytes break the connection: smaller ones follow`);
  }

  /** Names events that are passed, before the cursor moves past them. */
  passRefused(origin: BatchOrigin, events: readonly RefusedEvent[]): void {
    const [first] = events;
    if (first === undefined) return;
    const named = events.slice(0, NAMED).map(({ sequence, id, reason }) => ({ row: sequence, id, reason }));
    this.report(origin, events.length, first, { events: named });
  }

  /** Events that the receiver counts as refused, without naming them, in a request from one row to another. */
  passUnnamed(origin: BatchOrigin, count: number, from: number, to: RefusedEvent): void {
    this.report(origin, count, to, { from, to: to.sequence, reason: to.reason });
  }

  figures(): SinkFigures {
    const { totals } = this;
    return {
      requests_total: totals.requests,
      messages_total: totals.messages,
      acknowledged_total: totals.messages,
      duplicates_total: totals.known,
      retries_total: totals.retries,
      refused_total: totals.refused,
      last_refusal: this.lastRefusal,
      request_limit_bytes: this.requestLimit,
    };
  }

  private report(
    { source, timeline }: BatchOrigin,
    count: number,
    { sequence, reason }: RefusedEvent,
    details: Readonly<Record<string, unknown>>,
  ): void {
    const { name, record, log } = this.deps;
    this.totals.refused += count;
    this.lastRefusal = `${source}:${sequence}: ${reason}`;
    // An event about a refused own event could be refused as well, and so on: the log names it.
    const isOwn = source === 'auditd';
    if (!isOwn)
      record?.({
        action: 'daemon.event_refused',
        details: { sink: name, source, timeline, count, ...details },
      });
    if (!isOwn && performance.now() - this.loggedAt < LOG_MS) return;
    this.loggedAt = performance.now();
    log.error(
      { sink: name, source, count, ...details },
      `the receiver refuses ${count === 1 ? 'an event' : `${count} events`} of ${source}, up to row ${sequence}: ${reason}. ` +
        'The sink continues without; the rows stay in the table, and replay sends them again',
    );
  }
}

function keyOf({ source, timeline, replay }: BatchOrigin): string {
  return `${source}/${timeline}${replay === true ? '/replay' : ''}`;
}

/** The sink holds: nothing is passed. */
export function refusalError(
  name: string,
  origin: BatchOrigin,
  event: RefusedEvent,
  isAlone: boolean,
): AuditdError {
  const what = `${name}: it refuses ${origin.source}:${event.sequence}`;
  return new AuditdError(
    'SINK_FAILED',
    `${what}${isAlone ? '' : ', and every other event that was tried'}: ${event.reason}`,
    {
      next: isAlone
        ? 'on_refused is hold: let the receiver take the event, or set it to skip'
        : "Check index, credentials and the receiver's log. An event is only passed once another one is taken after it",
    },
  );
}
