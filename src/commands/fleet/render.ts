import type { Diagnosis } from '../../errors.js';
import type { FleetStatus, ServerStatus } from '../../fleet/fleet-status.js';
import { escapeUnsafe } from '../support/terminal.js';
import { shownTime, type Times } from '../support/times.js';

/** What of the fleet needs attention. */
export function fleetTroubles({ link, servers }: FleetStatus): Diagnosis[] {
  const problems = link.problems ?? link.troubles.map((what) => ({ what, next: null }));
  const silent = servers
    .filter((server) => server.silent)
    .map(({ server, heartbeat_age }) => ({
      what: `server ${escapeUnsafe(server)} has been silent for ${seconds(heartbeat_age)}`,
      next: 'Start its postern-auditd; if the server is retired: postern-auditd fleet forget',
    }));
  return [...problems.map(({ what, next }) => ({ what: `fleet: ${what}`, next })), ...silent];
}

/** The fleet as text: a line for the connection, and on a hub one per server. */
export function renderFleet(fleet: FleetStatus, times: Times): string[] {
  const { role, link, bans, hub, lease, servers } = fleet;
  const where = link.connected
    ? `connected to ${link.server}`
    : `not connected: ${link.last_error ?? 'starting'}`;
  const lines = ['', `fleet: ${role}, ${where}`];
  if (lease !== null) {
    const other = lease.holder === null ? '' : `; ${escapeUnsafe(lease.holder)} is active`;
    lines.push(lease.held ? '  active (it holds the lease)' : `  standby${other}`);
  }
  if (hub !== null) {
    const held = hub.held > 0 ? `, ${hub.held} wait for an earlier event` : '';
    lines.push(
      `  stream read up to ${hub.sequence} of ${hub.last_sequence}, ${hub.lag_events} behind${held}`,
    );
  }
  if (bans !== null) {
    const words = Object.entries(bans).filter(([, value]) => value > 0);
    lines.push(
      `  failed logins of other servers: ${words.map(([key, value]) => `${key} ${value}`).join(', ') || 'none yet'}`,
    );
  }
  return [...lines, ...servers.map((server) => line(server, times))];
}

function line(server: ServerStatus, times: Times): string {
  const { silent, heartbeat_age, last_event, lag_events, lag_seconds, version, clock_difference } = server;
  const parts = [
    silent
      ? `SILENT for ${seconds(heartbeat_age)}`
      : heartbeat_age === null
        ? 'no heartbeat'
        : `last heartbeat ${seconds(heartbeat_age)} ago`,
    `last event ${shownTime(last_event, times, 'none yet')}`,
    ...(lag_events === null
      ? []
      : [`${lag_events} events behind${lag_events > 0 ? `, ${lag_seconds} s` : ''}`]),
    ...(version === null ? [] : [`version ${escapeUnsafe(version)}`]),
    ...(clock_difference === null ? [] : [`clock ${clock_difference >= 0 ? '+' : ''}${clock_difference} s`]),
  ];
  return `  ${escapeUnsafe(server.server)}: ${parts.join('; ')}`;
}

function seconds(age: number | null): string {
  return age === null ? 'ever' : `${Math.round(age)} s`;
}
