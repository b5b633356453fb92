import { cutUtf8 } from './utf8.js';

/** A value below this level is omitted, so that the walk does not overflow the stack. */
const MAX_DEPTH = 24;
const CAPS = [1_024, 256, 64];

function capped(value: unknown, bytes: number, depth: number): unknown {
  if (typeof value === 'string') return cutUtf8(value, bytes);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.map((item) => capped(item, bytes, depth + 1));
  // fromEntries defines members: a key `__proto__` stays a key.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, capped(item, bytes, depth + 1)]),
  );
}

/** As many members as fit. The smallest are chosen first, and the order stays. */
function fewerMembers(
  value: object,
  budget: number,
  cost: (json: string) => number,
): Record<string, unknown> | null {
  const sized = Object.entries(value).map(([key, item], position) => {
    const json = JSON.stringify({ [key]: item });
    return { key, item, position, cost: cost(json) };
  });
  sized.sort((a, b) => a.cost - b.cost);
  let left = budget;
  const kept = sized.filter((member) => {
    left -= member.cost;
    return left >= 0;
  });
  if (kept.length === 0) return null;
  kept.sort((a, b) => a.position - b.position);
  return Object.fromEntries(kept.map((member) => [member.key, member.item]));
}

/**
 * Smaller details that are still the JSON text of an object. First long strings are cut (to 1,024, 256, 64 bytes),
 * then whole members are omitted, the largest first.
 *
 * @param details JSON text of an object
 * @param budget the highest allowed cost
 * @param cost the cost of a JSON text, such as its bytes once escaped; a part costs at most as much as the whole
 * @returns null if nothing fits
 */
export function shrinkDetails(
  details: string,
  budget: number,
  cost: (json: string) => number,
): string | null {
  let value: unknown;
  try {
    value = JSON.parse(details);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  let smallest: unknown = value;
  for (const cap of CAPS) {
    smallest = capped(value, cap, 0);
    const json = JSON.stringify(smallest);
    if (cost(json) <= budget) return json;
  }
  const fewer = fewerMembers(smallest as object, budget, cost);
  return fewer === null ? null : JSON.stringify(fewer);
}
