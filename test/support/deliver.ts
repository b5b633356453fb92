import type { AuditEvent } from '../../src/audit/event.js';
import { deliverRows, rowsFor } from '../../src/sinks/deliver-rows.js';
import { type Encoder, encode } from '../../src/sinks/messages.js';
import type { Batch, Delivered, MessageBatch, OnProgress, Sink } from '../../src/sinks/sink.js';
import type { PageOfRows, RowConsumer } from '../../src/source/source.js';

/** Delivers events to a sink in the form that it accepts. */
export function deliverEvents(
  sink: Sink,
  { events, ...origin }: Batch,
  signal: AbortSignal = new AbortController().signal,
  onProgress?: OnProgress,
): Promise<Delivered> {
  return deliverRows(sink, origin, rowsFor(sink, events), signal, onProgress);
}

/** The batch in the form of a session, in the given format. */
export function messageBatch({ events, ...origin }: Batch, format: Encoder['format']): MessageBatch {
  return { ...origin, messages: encode({ key: 'test', format, last: () => '', end: '' }, events) };
}

/** Gives the events to the consumer if there is one, and returns the result of a source that has read them. */
export function readBy(
  consumer: RowConsumer | undefined,
  events: readonly AuditEvent[],
  rest: Omit<PageOfRows, 'events' | 'lastEventId'>,
): PageOfRows {
  consumer?.begin();
  if (events.length > 0) consumer?.take(events);
  return {
    ...rest,
    events: consumer === undefined ? events : [],
    lastEventId: events.at(-1)?.id ?? null,
  };
}
