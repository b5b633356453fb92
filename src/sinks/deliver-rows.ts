import type { AuditEvent } from '../audit/event.js';
import { encode, type Messages } from './messages.js';
import type { BatchOrigin, Delivered, OnProgress, Sink } from './sink.js';

/** The rows of a batch in a sink's input form. */
export type SinkRows = { readonly events: readonly AuditEvent[] } | { readonly messages: Messages };

/** Events in a sink's input form. */
export function rowsFor({ encoder }: Sink, events: readonly AuditEvent[]): SinkRows {
  return encoder === null ? { events } : { messages: encode(encoder, events) };
}

/** Row ids, ascending. */
export function sequencesOf(rows: SinkRows): ArrayLike<number> {
  return 'messages' in rows ? rows.messages.sequences : rows.events.map(({ sequence }) => sequence);
}

/** Delivers a batch to a sink. @throws what its `deliver` throws; TypeError for rows in a different form */
export function deliverRows(
  sink: Sink,
  origin: BatchOrigin,
  rows: SinkRows,
  signal: AbortSignal,
  onProgress?: OnProgress,
): Promise<Delivered> {
  if (sink.encoder === null && 'events' in rows)
    return sink.deliver({ ...origin, events: rows.events }, signal, onProgress);
  if (sink.encoder !== null && 'messages' in rows)
    return sink.deliver({ ...origin, messages: rows.messages }, signal, onProgress);
  throw new TypeError('rows are not in the form that the sink takes');
}
