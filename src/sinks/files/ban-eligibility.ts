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

/** What fail2ban is to see: `write`, a reason against it, or null for what is no failed login at all. */
export function classifyForBan(
  event: AuditEvent,
  now: number,
  neverBan: { contains(address: string): boolean },
): 'write' | Withheld | null {
  // What an edited row is now, where the event says only that it was edited.
  const { action } = event.revisedType ?? event;
  if (action !== 'auth.login_failure' || event.type.category === 'ban') return null;
  // What other servers told was let in before (fleet/): all the rest is judged here.
  if (!event.local && event.source !== 'fleet') return 'other_server';
  if (event.address === null) return 'no_address';
  if (event.time === null) return 'unreadable';
  if (event.time < now - OLDEST_MS) return 'old';
  if (event.time > now + NEWEST_MS) return 'future';
  return neverBan.contains(event.address) ? 'never_ban' : 'write';
}
