import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { networkOf } from '../audit/address.js';
import type { EventType } from '../audit/catalog.js';
import type { AuditEvent, EventUser } from '../audit/event.js';

/** What a row means to the rules. */
type Role = 'failure' | 'login' | 'change' | 'deletion';

/** What the rules need of a row of Postern's table. */
export interface Fact {
  readonly role: Role;
  /** Row id in Postern's table: a later version of an edited row has that of the row. */
  readonly row: number;
  /** The row's own time, ms since the epoch. */
  readonly time: number;
  readonly action: string;
  readonly user: EventUser;
  readonly address: string | null;
  /** The user by each of its names: see `userKeys`. */
  readonly users: readonly string[];
}

/** Longer texts are replaced by a hash: no client may decide how much memory a key takes. */
const LONGEST = 64;
/** Characters of a name in state.db. */
const LONGEST_NAME = 256;
const CHANGES: ReadonlySet<string> = new Set(['creation', 'change', 'deletion']);
/** Rows of these categories are not about what a user changed. */
const OTHERS: ReadonlySet<string> = new Set(['ban', 'alert', 'daemon']);
const roles = new WeakMap<EventType, Role | 'none'>();

/** Null: the row means nothing to the rules. */
function roleOf(type: EventType): Role | null {
  let role = roles.get(type);
  if (role === undefined) {
    role = findRole(type);
    roles.set(type, role);
  }
  return role === 'none' ? null : role;
}

function findRole({ action, category, known, ecs }: EventType): Role | 'none' {
  if (action === 'auth.login_failure') return 'failure';
  if (action === 'auth.login_success') return 'login';
  if (!known || OTHERS.has(category) || !ecs.type.some((type) => CHANGES.has(type))) return 'none';
  return ecs.type.includes('deletion') ? 'deletion' : 'change';
}

/** Null for a row without a readable time, or without a meaning to the rules. */
export function factOf(event: AuditEvent): Fact | null {
  const role = roleOf(event.revisedType ?? event.type);
  const { time, user, address } = event;
  if (role === null || time === null) return null;
  const { action } = event.revisedType ?? event.type;
  return {
    role,
    row: event.revisionOf ?? event.sequence,
    time,
    action,
    user,
    address,
    users: userKeys(user),
  };
}

/**
 * The keys of a user. A failed login often names only what was typed, a name or an e-mail address, so these two are one kind of key, and
 * upper and lower case are the same.
 */
function userKeys({ id, name, email }: EventUser): string[] {
  const keys = new Set<string>();
  if (email) keys.add(short(email.toLowerCase()));
  if (name) keys.add(short(name.toLowerCase()));
  if (id) keys.add(`#${short(id)}`);
  return [...keys];
}

/** The one key under which a user's networks are known; null for a row without a user. */
export function mainUserKey({ id, name, email }: EventUser): string | null {
  if (id) return `#${short(id)}`;
  const text = email || name;
  return text ? short(text.toLowerCase()) : null;
}

/** A user as state.db keeps it for an alert that is raised later. */
export function shortUser({ id, name, email }: EventUser): EventUser {
  return {
    id: id?.slice(0, LONGEST_NAME) ?? null,
    name: name?.slice(0, LONGEST_NAME) ?? null,
    email: email?.slice(0, LONGEST_NAME) ?? null,
  };
}

function short(text: string): string {
  return text.length <= LONGEST ? text : `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Whose failed logins count together: one address, or a /64 of IPv6, which is usually one host. */
export function attackerKey(address: string): string {
  return networkOf(address, 64);
}

/** A user's network: the /24, or the /48 of IPv6. @param address canonical text as from parseAddress */
export function homeNetwork(address: string): string {
  return isIPv4(address) ? `${address.slice(0, address.lastIndexOf('.'))}.0/24` : networkOf(address, 48);
}
