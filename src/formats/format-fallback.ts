/**
 * A row at which a format throws must not stop its sink: the rows after it would never be sent. The error is caught here, and the minimal
 * form of the event is sent: the values that the daemon knows itself, and none of the row's texts.
 */
import { type AuditEvent, copyEvent, publicId } from '../audit/event.js';
import { ECS_VERSION, EVENT_END } from './ecs.js';

/** Called for each event that is written in its minimal form. */
export type OnUnformatted = (event: AuditEvent, error: unknown) => void;

/** The event without any text that a client may have chosen. */
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

/** The result of `format` for the event, else for its minimal form, else of `last`. Does not throw. */
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

/** A syslog message that has only the identity of its row. */
export function lastMessage(event: AuditEvent): string {
  return `<${PRIORITY}>1 - - postern-auditd - unformatted - ${lastText(event)}`;
}

/** A text for people about an event that can't be formatted. */
export function lastText(event: AuditEvent): string {
  return `event ${publicId(event)} could not be formatted`;
}

/** A line of the file sink that has only the identity of its row. */
export function lastLine({ ingested, sequence, id, source, timeline }: AuditEvent): string {
  return (
    `{"@timestamp":"${new Date(ingested).toISOString()}","log.level":"info","event":{"action":"unknown.unformatted",` +
    `"outcome":"unknown","kind":"event","type":["info"],"sequence":${sequence},"id":"${id}",` +
    `"created":"${new Date(ingested).toISOString()}${EVENT_END},"postern":{"source":"${source}","timeline":${timeline},` +
    `"details":{"unformatted":true}},"ecs":{"version":"${ECS_VERSION}"}}`
  );
}
