export type JsonObject = Readonly<Record<string, unknown>>;

/** Longer details are not parsed a second time. */
const LONGEST = 65_536;

/** Details as an object; null if there are none, they are long, or not an object. */
export function objectOf(details: string | null): JsonObject | null {
  if (details === null || details.length > LONGEST) return null;
  try {
    return asJsonObject(JSON.parse(details));
  } catch {
    return null;
  }
}

/** The value if it is an object; null for anything else. */
export function asJsonObject(value: unknown): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

/** A member of the object itself that is a text and not empty. */
export function stringIn(value: JsonObject | null, name: string): string | undefined {
  const member = value !== null && Object.hasOwn(value, name) ? value[name] : undefined;
  return typeof member === 'string' && member !== '' ? member : undefined;
}

/** The names under which details have a value before and after a change. */
const PAIRS = [
  ['before', 'after'],
  ['old', 'new'],
  ['from', 'to'],
  ['previous', 'current'],
] as const;

/** Both values of a change; null if the object has none. */
export function pairIn(value: JsonObject): readonly [unknown, unknown] | null {
  for (const [before, after] of PAIRS) {
    if (Object.hasOwn(value, before) && Object.hasOwn(value, after)) return [value[before], value[after]];
  }
  return null;
}
