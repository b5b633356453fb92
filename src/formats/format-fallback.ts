/**
 * A row that a format throws at must not stop its sink: the rows behind it would never be sent. The error is caught here, and the least
 * form of that event is sent: what this daemon knows of it itself, and none of the row's texts.
 */
import { type AuditEvent, copyEvent, publicId } from '../audit/event.js';

/** Called for each event that is written in its minimal form. */
export type OnUnformatted = (event: AuditEvent, error: unknown) => void;

/** The event with no text in it that a client may have chosen. */
function leastEvent(event: AuditEvent): AuditEvent {
  return copyEvent(event, {
    rawAction: '',
    rawTime: null,
    rawAddress: null,
    user: { id: null, name: null, email: null },
    resource: { type: null, id: null },
    details: '{"unformatted":true}',
  });
}

/** What `format` makes of the event, else of the least of it, else `last`. Does not throw. */
export function formatted<T>(
  event: AuditEvent,
  format: (event: AuditEvent) => T,
  last: (event: AuditEvent) => T,
  onUnformatted: OnUnformatted,
): T {
  try {
    return format(event);
  } catch (error) {
    onUnformatted(event, error);
    try {
      return format(leastEvent(event));
    } catch {
      return last(event);
    }
  }
}

/** Facility authpriv, severity notice. */
const PRIORITY = 85;

/** A syslog message that identifies its row and has nothing else of it. */
export function lastMessage(event: AuditEvent): string {
  return `<${PRIORITY}>1 - - postern-auditd - unformatted - ${lastText(event)}`;
}

/** For people, of an event that no format takes. */
export function lastText(event: AuditEvent): string {
  return `event ${publicId(event)} could not be formatted`;
}

/** A line of the file sink that identifies its row and has nothing else of it. */
export function lastLine({ ingested, sequence, id, source, timeline }: AuditEvent): string {
  return (
    `{"@timestamp":"${new Date(ingested).toISOString()}","log.level":"info","event":{"action":"unknown.unformatted",` +
    `"outcome":"unknown","kind":"event","category":[],"type":["info"],"sequence":${sequence},"id":"${id}",` +
    `"ingested":"${new Date(ingested).toISOString()}"},"ecs":{"version":"8.17.0"},"postern":{"source":"${source}",` +
    `"timeline":${timeline},"details":{"unformatted":true}}}`
  );
}
