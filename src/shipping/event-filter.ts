import { isAtLeast } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import type { EventsFilter } from '../config/schema.js';

/** What of an event a filter looks at. */
export type Filtered = Pick<AuditEvent, 'type' | 'action' | 'rawAction' | 'server' | 'source'>;

/** Why a sink does not take an event, in the words of the key that keeps it out; null if it takes it. */
export function whyRejected(filter: EventsFilter | undefined, event: Filtered): string | null {
  if (filter === undefined) return null;
  const { category, action, outcome, min_severity, server, source } = filter;
  if (category !== undefined && !category.includes(event.type.category))
    return `events.category: ${category.join(', ')}`;
  if (action !== undefined && !action.includes(event.action) && !action.includes(event.rawAction)) {
    return `events.action: ${action.join(', ')}`;
  }
  if (outcome !== undefined && !outcome.includes(event.type.outcome))
    return `events.outcome: ${outcome.join(', ')}`;
  if (min_severity !== undefined && !isAtLeast(event.type.severity, min_severity)) {
    return `events.min_severity: ${min_severity}`;
  }
  if (server !== undefined && !server.includes(event.server)) return `events.server: ${server.join(', ')}`;
  if (source !== undefined && !source.some((name) => name === event.source))
    return `events.source: ${source.join(', ')}`;
  return null;
}
