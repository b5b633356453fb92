import { parseTime } from '../audit/time.js';
import { subjectToken } from '../formats/fleet-message.js';
import type { LinkStatus } from './fleet-connection.js';
import type { ConsumerStatus } from './hub-consumer.js';
import type { Lease } from './lease.js';
import type { RemoteFailures } from './remote-failures.js';
import type { Member } from './server-registry.js';

/** A server of the fleet, for `status`. */
export interface ServerStatus {
  readonly server: string;
  readonly role: string | null;
  readonly version: string | null;
  readonly silent: boolean;
  /** Seconds since its last heartbeat; null if there was none. */
  readonly heartbeat_age: number | null;
  /** Seconds by which its clock is ahead of the hub's. */
  readonly clock_difference: number | null;
  /** Time of its last event that arrived, ISO 8601. */
  readonly last_event: string | null;
  /** When that event arrived. */
  readonly last_received: string | null;
  /** Events that it has not published yet, by its own heartbeat. */
  readonly lag_events: number | null;
  readonly lag_seconds: number | null;
}

/** The fleet, for `status`. */
export interface FleetStatus {
  readonly role: 'member' | 'hub';
  readonly link: LinkStatus;
  readonly bans: ReturnType<RemoteFailures['status']> | null;
  readonly hub: ConsumerStatus | null;
  readonly lease: ReturnType<Lease['status']> | null;
  readonly servers: readonly ServerStatus[];
}

/** Joins heartbeats and last events by server. */
export function serversOf(
  members: readonly Member[],
  lastEvents: ReadonlyArray<{
    readonly origin: string;
    readonly seen: number;
    readonly created: string | null;
  }>,
): ServerStatus[] {
  const last = new Map(lastEvents.map((event) => [subjectToken(event.origin), event]));
  const heard = members.map((member): ServerStatus => {
    const { beat, token, silent, silentFor, clockDifference } = member;
    const event = last.get(token);
    last.delete(token);
    return {
      server: beat.server,
      role: beat.role,
      version: beat.version,
      silent,
      heartbeat_age: Math.round(silentFor / 100) / 10,
      clock_difference: clockDifference === null ? null : Math.round(clockDifference / 10) / 100,
      ...eventTimes(event),
      lag_events: beat.lag_events,
      lag_seconds: beat.lag_seconds,
    };
  });
  const unheard = [...last.values()].map(
    (event): ServerStatus => ({
      server: event.origin,
      role: null,
      version: null,
      silent: false,
      heartbeat_age: null,
      clock_difference: null,
      ...eventTimes(event),
      lag_events: null,
      lag_seconds: null,
    }),
  );
  return [...heard, ...unheard];
}

function eventTimes(event: { readonly seen: number; readonly created: string | null } | undefined) {
  const time = event === undefined ? null : parseTime(event.created);
  return {
    last_event: time === null ? null : new Date(time).toISOString(),
    last_received: event === undefined || event.seen === 0 ? null : new Date(event.seen).toISOString(),
  };
}
