import type { AuditEvent } from '../../audit/event.js';

/**
 * fail2ban takes a line more than 60 s off its clock for one that has just happened. The rest is for the way of the line to fail2ban
 * (up to 1 s) and clocks that differ.
 */
export const OLDEST_MS = 50_000;
export const NEWEST_MS = 5_000;

/** Why a failed login is kept from fail2ban. */
export const REASONS = ['old', 'future', 'unreadable', 'no_address', 'other_server', 'never_ban'] as const;
export type Withheld = (typeof REASONS)[number];

/** Whether fail2ban is to see an event: `write`, a reason to withhold it, or null if it is not a failed login. */
export function classifyForBan(
  event: AuditEvent,
  now: number,
  neverBan: { contains(address: string): boolean },
): 'write' | Withheld | null {
  // The present type of an edited row, if the event only reports the edit.
  const { action } = event.revisedType ?? event;
  if (action !== 'auth.login_failure' || event.type.category === 'ban') return null;
  // Failures of other servers were admitted before (fleet/); all others are checked here.
  if (!event.local && event.source !== 'fleet') return 'other_server';
  if (event.address === null) return 'no_address';
  if (event.time === null) return 'unreadable';
  if (event.time < now - OLDEST_MS) return 'old';
  if (event.time > now + NEWEST_MS) return 'future';
  return neverBan.contains(event.address) ? 'never_ban' : 'write';
}
