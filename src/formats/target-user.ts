/**
 * The account that an event of the category `user` is about, as far as its row names it: the id of the resource, and members of the
 * details. Only members of these names count, and only those that are texts, so that a client of Postern can add no field of its own.
 */
import type { AuditEvent } from '../audit/event.js';
import { asJsonObject, type JsonObject, objectOf, pairIn, stringIn } from './json-members.js';

/** Left out: the row does not say. */
export interface NamedUser {
  readonly id?: string;
  readonly name?: string;
  readonly email?: string;
  readonly full_name?: string;
}

export interface TargetUser {
  /** As it was before the change; a new one as it is. */
  readonly target: NamedUser;
  /** The values that changed, as they are now. */
  readonly changes: NamedUser;
}

const MEMBERS = [
  ['name', ['name', 'username', 'user_name']],
  ['email', ['email', 'user_email']],
  ['full_name', ['full_name']],
] as const;
const NOTHING: NamedUser = {};

/** Null for an event of another category. */
export function targetUser(event: AuditEvent): TargetUser | null {
  if (event.type.category !== 'user') return null;
  const { id } = event.resource;
  const identity: NamedUser = id === null || id === '' ? NOTHING : { id };
  const details = objectOf(event.details);
  if (details === null) return { target: identity, changes: NOTHING };
  const pair = pairIn(details) ?? fieldsIn(details);
  if (pair === null) return { target: { ...identity, ...named(details) }, changes: NOTHING };
  const [before, after] = [named(pair[0]), named(pair[1])];
  if (asJsonObject(pair[0]) === null) return { target: { ...identity, ...after }, changes: NOTHING };
  return { target: { ...identity, ...before }, changes: difference(before, after) };
}

/** `{ "changes": { "name": ["a", "b"], "email": { "from": "c", "to": "d" } } }` */
function fieldsIn(details: JsonObject): readonly [JsonObject, JsonObject] | null {
  const changes = Object.hasOwn(details, 'changes') ? asJsonObject(details.changes) : null;
  if (changes === null) return null;
  const before: Record<string, unknown> = {};
  const after: Record<string, unknown> = {};
  for (const name of MEMBERS.flatMap(([, spellings]) => spellings)) {
    const change = Object.hasOwn(changes, name) ? changes[name] : null;
    const inner = asJsonObject(change);
    const pair =
      Array.isArray(change) && change.length === 2 ? change : inner === null ? null : pairIn(inner);
    if (pair === null) continue;
    before[name] = pair[0];
    after[name] = pair[1];
  }
  return [before, after];
}

function named(value: unknown): NamedUser {
  const members = asJsonObject(value);
  const found: { -readonly [Key in keyof NamedUser]: string } = {};
  for (const [name, spellings] of MEMBERS) {
    const text = spellings.map((spelling) => stringIn(members, spelling)).find((one) => one !== undefined);
    if (text !== undefined) found[name] = text;
  }
  return found;
}

function difference(before: NamedUser, after: NamedUser): NamedUser {
  const changed: { -readonly [Key in keyof NamedUser]: string } = {};
  for (const [name] of MEMBERS) {
    const value = after[name];
    if (value !== undefined && value !== before[name]) changed[name] = value;
  }
  return changed;
}
