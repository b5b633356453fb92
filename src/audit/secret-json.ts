import { secretsInCommand } from './secret-commands.js';
import type { SecretNames } from './secret-names.js';
import { isNegated } from './secret-signs.js';

/** In `{ "key": "smtp_password", "value": "…" }` the first member names the second; also `setting_key`, `columnName`. */
const NAMING = new Set(
  (
    'key name setting field property option header path parameter param column attribute attr id identifier variable var env ' +
    'argument flag label title k'
  ).split(' '),
);
const NAMED = new Set(
  'value values val data content old new from to before after previous current v raw text string plain secret'.split(
    ' ',
  ),
);
/** Lists of names without values: `{ "changed_fields": ["password", "email"] }`. */
const NAMES_ONLY =
  /(?:fields|columns|keys|names|changed|changes|attributes|properties|params|parameters|options|scopes|permissions|roles|tags|types|categories|events|actions|methods|features|required|missing|settings)$/i;
/** What a header or an option looks like, unlike the name of a column. */
const HEADER_LIKE = /^[A-Z][\w-]*$|-/;
/** The private members of a JSON Web Key, which is known by its `kty`. */
const KEY_MEMBERS = new Set('d p q dp dq qi k oth'.split(' '));
/** JSON in a string in JSON, and so on. Each level makes the text longer by its backslashes. */
const STRINGS_DEEP = 4;

export interface JsonMaskParts {
  readonly names: SecretNames;
  readonly cover: (secret: unknown) => string;
  /** Whether the text may contain a secret. */
  readonly isSuspicious: (text: string) => boolean;
  readonly maskString: (text: string) => string;
  /** Undefined if the text is not JSON, or JSON that can't be walked. */
  readonly parse: (text: string) => unknown;
}

/** Makes the function that covers the secrets in a value of JSON. */
export function createJsonMask(parts: JsonMaskParts): (value: unknown) => unknown {
  const mask = new JsonMask(parts);
  return (value) => mask.walk(value, 0);
}

class JsonMask {
  constructor(private readonly parts: JsonMaskParts) {}

  /** @param under the key that the value belongs to */
  walk(value: unknown, level: number, under = ''): unknown {
    if (typeof value === 'string') return value.length < 4 ? value : this.maskText(value, level);
    if (typeof value !== 'object' || value === null) return value;
    return Array.isArray(value) ? this.maskList(value, level, under) : this.maskObject(value, level);
  }

  private maskText(text: string, level: number): string {
    const { isSuspicious, maskString, parse } = this.parts;
    if (!isSuspicious(text)) return text;
    const inner = level < STRINGS_DEEP && /^\s*[[{]/.test(text) ? parse(text) : undefined;
    if (inner === undefined) return maskString(text);
    const masked = JSON.stringify(this.walk(inner, level + 1));
    return masked === JSON.stringify(inner) ? text : masked;
  }

  private maskObject(value: object, level: number): unknown {
    const { names, cover } = this.parts;
    const entries = Object.entries(value);
    const isNaming = entries.some(([key, item]) => this.namesSecret(key, item));
    const isKey = entries.some(([key, item]) => key === 'kty' && typeof item === 'string');
    const seen = new Set<string>();
    // fromEntries defines members: a key `__proto__` stays a key.
    return Object.fromEntries(
      entries.map(([key, item]) => {
        const { isSecret, lastWord, isPlain } = names.meaningOf(key);
        const secret = isSecret || (isNaming && NAMED.has(lastWord)) || (isKey && KEY_MEMBERS.has(key));
        return [
          isPlain ? key : this.maskKey(key, seen),
          secret && hides(key, item) ? cover(item) : this.walk(item, level, key),
        ];
      }),
    );
  }

  /** A key may hold a secret itself, `https://user:…@host`. Two keys that are masked alike stay two. */
  private maskKey(key: string, seen: Set<string>): string {
    const { isSuspicious, maskString } = this.parts;
    const masked = isSuspicious(key) ? maskString(key) : key;
    if (masked === key) return key;
    let unique = masked;
    for (let count = 2; seen.has(unique); count++) unique = `${masked} (${count})`;
    seen.add(unique);
    return unique;
  }

  private namesSecret(key: string, value: unknown): boolean {
    const { names } = this.parts;
    if (typeof value !== 'string' && !Array.isArray(value)) return false;
    const { lastWord } = names.meaningOf(key);
    if (!NAMING.has(lastWord) && !NAMING.has(singularOf(lastWord))) return false;
    if (Array.isArray(value)) return value.some((item) => typeof item === 'string' && names.isNamed(item));
    return names.isNamed(value);
  }

  private maskList(list: readonly unknown[], level: number, under: string): unknown {
    const { names, cover } = this.parts;
    const places = secretsInCommand(
      list,
      (text) => names.isSecret(text) && !isNegated(text) && !text.includes('='),
    );
    const isPairs = list.length % 2 === 0 && !NAMES_ONLY.test(under);
    return list.map((item, at) => {
      const place = places[at] ?? (isPairs && this.isPaired(list, at) ? 0 : null);
      if (place === null || !hides('', item)) return this.walk(item, level, under);
      return typeof item === 'string' ? item.slice(0, place) + cover(item.slice(place)) : cover(item);
    });
  }

  /** `["X-Api-Key", "…"]`. Of longer lists only names that look like a header: Node.js has them as name, value, name, value. */
  private isPaired(list: readonly unknown[], at: number): boolean {
    const name = list[at - 1];
    if (at % 2 === 0 || typeof name !== 'string' || (list.length > 2 && !HEADER_LIKE.test(name)))
      return false;
    return this.parts.names.isNamed(name);
  }
}

/** True, false, 0, 1, null, empty text and a number of tokens are not secrets. */
function hides(key: string, value: unknown): boolean {
  if (typeof value === 'number')
    return value !== 0 && value !== 1 && (Math.abs(value) >= 1_000 || !/[^s]s$/i.test(key));
  return value !== null && value !== '' && typeof value !== 'boolean';
}

function singularOf(word: string): string {
  return word.endsWith('s') ? word.slice(0, -1) : word;
}
