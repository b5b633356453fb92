/** Longest `details`, in characters, that are completely searched for secrets. */
export const DETAILS_BUDGET = 1_200_000;

/** Limits for longer details: length of a text, items of a list, members of an object, levels, and values in total. */
const TEXT = 8_192;
const ITEMS = 1_000;
const LEVELS = 16;
const VALUES = 5_000;
/** Longest name. An object with a longer one is omitted whole: without its name a secret cannot be recognised. */
const NAME = 256;

/**
 * Shortens details that are too long to be searched for secrets. The result is the JSON text of an object, with a note in place of each
 * omitted part. Nothing is cut in the middle, and members of an object are kept or omitted together: one member may show that
 * another is a secret. So the rest is masked like the whole.
 *
 * @param details as in the row, not masked
 */
export function shortenDetails(details: string): string {
  let value: unknown;
  try {
    value = JSON.parse(details);
  } catch {
    return JSON.stringify({ text: leftOut(`text of ${details.length} characters`) });
  }
  let values = 0;
  const shorten = (item: unknown, level: number): unknown => {
    if (typeof item === 'string')
      return item.length <= TEXT ? item : leftOut(`text of ${item.length} characters`);
    if (typeof item !== 'object' || item === null) return item;
    if (level === LEVELS) return leftOut('deeper levels');
    if (Array.isArray(item)) {
      if (values + Math.min(item.length, ITEMS) > VALUES) return leftOut(`list of ${item.length}`);
      values += Math.min(item.length, ITEMS);
      const kept = item.slice(0, ITEMS).map((one) => shorten(one, level + 1));
      return item.length > ITEMS ? [...kept, leftOut(`${item.length - ITEMS} more`)] : kept;
    }
    const names = Object.keys(item);
    if (names.length > ITEMS || values + names.length > VALUES || names.some(({ length }) => length > NAME))
      return leftOut(`object of ${names.length} members`);
    values += names.length;
    return Object.fromEntries(Object.entries(item).map(([name, one]) => [name, shorten(one, level + 1)]));
  };
  const kept = JSON.stringify(shorten(value, 0));
  if (kept.length > DETAILS_BUDGET)
    return JSON.stringify({ text: leftOut(`details of ${details.length} characters`) });
  return kept;
}

function leftOut(what: string): string {
  return `[left out: ${what}]`;
}
