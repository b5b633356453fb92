import { printableJson } from './escape-unprintable.js';
import { cutUtf8, fitsUtf8 } from './utf8.js';

const STRING_BYTES = 64;

/** A path into a JSON object: a member, or a member's member. */
export type MemberPath = readonly [string, string?];

function at(whole: unknown, path: MemberPath): unknown {
  let value = whole;
  for (const key of path) {
    if (key === undefined) break;
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  }
  return value;
}

/**
 * The strings, numbers and booleans at the given paths of a JSON object, in the order of the paths, as far as
 * they fit. Strings are cut at 64 bytes.
 *
 * @param mark always added at the end
 */
export function minimalJson(json: string, bytes: number, paths: readonly MemberPath[], mark: object): string {
  const whole: unknown = JSON.parse(json);
  const kept: Record<string, unknown> = {};
  let text = JSON.stringify(mark);
  for (const path of paths) {
    const value = at(whole, path);
    if (value === undefined || typeof value === 'object') continue;
    const short = typeof value === 'string' ? cutUtf8(value, STRING_BYTES) : value;
    const [first, second] = path;
    const before = kept[first];
    kept[first] = second === undefined ? short : { ...(before as object | undefined), [second]: short };
    const grown = printableJson(JSON.stringify({ ...kept, ...mark }));
    if (fitsUtf8(grown, bytes)) text = grown;
    else if (before === undefined) delete kept[first];
    else kept[first] = before;
  }
  return text;
}
