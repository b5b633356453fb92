import { asJsonObject, pairIn } from '../../formats/json-members.js';
import { markInvisible } from './escape-invisible.js';
import { jsonTokens } from './json-view.js';

export interface FieldChange {
  /** `meta.ssl_forced`. */
  readonly path: string;
  /** JSON text; null if the field was not set. */
  readonly before: string | null;
  readonly after: string | null;
}

const DEEPEST = 8;
const MOST = 100;

/**
 * The changes that an update's details describe: as `{ before, after }` (or old and new, from and to) for the whole, or per field under
 * `changes`. Null if the details describe none, or nothing differs.
 */
export function changesOf(details: unknown): readonly FieldChange[] | null {
  const top = asJsonObject(details);
  if (top === null) return null;
  const found: FieldChange[] = [];
  const pair = pairIn(top);
  if (pair !== null) {
    const key = typeof top.key === 'string' ? top.key : typeof top.field === 'string' ? top.field : '';
    compare(key, pair[0], pair[1], found, 0);
  }
  for (const [key, each] of Object.entries(asJsonObject(top.changes) ?? {}).slice(0, MOST)) {
    const inner = asJsonObject(each);
    const values = Array.isArray(each) && each.length === 2 ? each : inner === null ? null : pairIn(inner);
    if (values !== null) compare(key, values[0], values[1], found, 0);
  }
  return found.length === 0 ? null : found;
}

function compare(path: string, before: unknown, after: unknown, found: FieldChange[], depth: number): void {
  if (found.length >= MOST) return;
  const [left, right] = [asJsonObject(before), asJsonObject(after)];
  if (left !== null && right !== null && depth < DEEPEST) {
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      compare(path === '' ? key : `${path}.${key}`, left[key], right[key], found, depth + 1);
    }
    return;
  }
  if (!same(before, after)) found.push({ path, before: textOf(before), after: textOf(after) });
}

/** Characters of each value that are turned into text; the page shows fewer. */
const LONGEST = 2_000;

function textOf(value: unknown): string | null {
  return value === undefined ? null : oneLine(value).text;
}

function oneLine(value: unknown): { text: string; cut: boolean } {
  const { tokens, cut } = jsonTokens(value, LONGEST);
  const words = tokens.map(({ text, kind }, at) => {
    if (kind !== 'mark') return text;
    // A line break becomes a space after a comma, and nothing inside brackets.
    return text.startsWith('\n') ? (tokens[at - 1]?.text === ',' ? ' ' : '') : text;
  });
  return { text: words.join(''), cut };
}

function same(before: unknown, after: unknown): boolean {
  if (before === undefined || after === undefined) return before === after;
  const [was, is] = [oneLine(before), oneLine(after)];
  if (was.text !== is.text) return false;
  if (!was.cut) return true;
  try {
    return JSON.stringify(before) === JSON.stringify(after);
  } catch {
    return false; // nested too deep to compare
  }
}

/** A table of changes. It marks them with text and elements, not by colour alone. */
export function Diff({ changes }: { changes: readonly FieldChange[] }) {
  return (
    <table class="diff">
      <caption>What changed</caption>
      <thead>
        <tr>
          <th scope="col">Field</th>
          <th scope="col">Before</th>
          <th scope="col">After</th>
        </tr>
      </thead>
      <tbody>
        {changes.map(({ path, before, after }) => (
          <tr>
            <th scope="row">
              <bdi>{path === '' ? 'value' : markInvisible(path, 100)}</bdi>
            </th>
            <td>
              {before === null ? <span class="none">not set</span> : <del>{markInvisible(before, 300)}</del>}
            </td>
            <td>
              {after === null ? <span class="none">removed</span> : <ins>{markInvisible(after, 300)}</ins>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
