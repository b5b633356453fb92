import { createHash } from 'node:crypto';

/**
 * Keys of `details` that receivers do not accept as names. Elasticsearch rejects a whole document if a key of a flattened field has a NUL,
 * or if a key and its value have more than 32,766 bytes together. Parts of Elasticsearch reject blank keys, and dots without a name between
 * them. A client could hide an event by such a key.
 */

/** Bytes of a key with the keys above it, joined by dots. */
const LONGEST_PATH = 1_024;
/** Levels that audit/redaction.ts leaves. */
const DEEPEST = 16;
/** Bytes of a shortened key with its dot. */
const SHORT = 40;
const KEPT = 24;
/** Matches a text whose keys must be examined, also one with characters outside printable ASCII. A long text is always examined. */
const HINT = /\\u0000|"[\s.]|[\s.]":|\.\.|"":|[^ -~]/;
const MISREAD = /\0|^\s*$|^\.|\.$|\.\./;

/** The member that marks changed keys. */
const KEYS_CHANGED = 'keys_changed';

/**
 * The same details with keys that every receiver accepts. A NUL becomes its picture, a blank name and stray dots become `_`, and long keys
 * are cut. Each changed key ends in `~` and a part of its SHA-256, so no two keys become one. No value is lost, and
 * `"keys_changed":true` marks the change.
 *
 * @param details compact JSON text of an object
 */
export function withSafeKeys(details: string): string {
  if (details.length <= LONGEST_PATH && !HINT.test(details)) return details;
  const walk = new Walk();
  const value = walk.of(JSON.parse(details), 0, 0) as object;
  if (!walk.changed) return details;
  return JSON.stringify(KEYS_CHANGED in value ? value : Object.assign(value, { [KEYS_CHANGED]: true }));
}

class Walk {
  changed = false;

  /** @param path bytes of the keys above with their dots */
  of(value: unknown, depth: number, path: number): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => this.of(item, depth + 1, path));
    const room = LONGEST_PATH - path - Math.max(0, DEEPEST - depth - 1) * SHORT - 1;
    const entries = Object.entries(value);
    const taken = new Set(entries.map(([key]) => key));
    // fromEntries defines members: a key `__proto__` stays a key.
    return Object.fromEntries(
      entries.map(([key, item]) => {
        const safe = this.key(key, room, taken);
        return [safe, this.of(item, depth + 1, path + Buffer.byteLength(safe) + 1)];
      }),
    );
  }

  private key(key: string, room: number, taken: Set<string>): string {
    const isLong = key.length * 3 > room && Buffer.byteLength(key) > room;
    if (!isLong && !MISREAD.test(key)) return key;
    this.changed = true;
    const shown = key.replaceAll('\0', '\u2400').replace(/^\s*$|^\.+|\.+$|\.{2,}/g, '_');
    const base = Buffer.byteLength(shown) > KEPT ? cut(shown, isLong ? KEPT : room - SHORT + KEPT) : shown;
    for (let round = 0; ; round++) {
      const safe = `${base}~${createHash('sha256')
        .update(`${key}${round || ''}`)
        .digest('hex')
        .slice(0, 12)}`;
      if (taken.has(safe)) continue;
      taken.add(safe);
      return safe;
    }
  }
}

/** The beginning of a text, measured in bytes of UTF-8. At most a lone surrogate is left at its end, which UTF-8 cannot represent. */
function cut(text: string, bytes: number): string {
  let end = 0;
  let length = 0;
  for (const character of text) {
    length += Buffer.byteLength(character);
    if (length > bytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}
