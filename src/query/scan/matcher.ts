import { NetworkSet } from '../../audit/address.js';
import type { AuditEvent } from '../../audit/event.js';
import { createResourceMatcher } from '../../audit/resource-matcher.js';
import type { Filter } from '../filter.js';

/** Creates the function that decides whether an event matches the filter. SQL only narrows down the rows. */
export function createMatcher(filter: Filter): (event: AuditEvent) => boolean {
  const { resourceType, action, user, from, to, server, ip, outcome, source, q } = filter;
  const network = ip?.includes('/') ? new NetworkSet([ip]) : null;
  const isResource = resourceType === null ? null : createResourceMatcher(resourceType);
  const wanted = q?.toLowerCase() ?? null;
  return (event) =>
    (source === null || event.source === source) &&
    (from === null || (event.time !== null && event.time >= from)) &&
    (to === null || (event.time !== null && event.time < to)) &&
    (isResource === null || isResource(event.resource.type)) &&
    (action === null || event.action === action || event.rawAction === action) &&
    (outcome === null || event.type.outcome === outcome) &&
    (user === null || event.user.id === user || event.user.name === user || event.user.email === user) &&
    (server === null || event.server === server) &&
    (ip === null || (event.address !== null && (network?.contains(event.address) ?? event.address === ip))) &&
    (wanted === null || (event.details?.toLowerCase().includes(wanted) ?? false));
}

/** The same for the time alone. */
export function createTimeMatcher({ from, to }: Filter): (time: number | null) => boolean {
  if (from === null && to === null) return () => true;
  return (time) => time !== null && (from === null || time >= from) && (to === null || time < to);
}
